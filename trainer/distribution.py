"""Several processes that train one run together, each on its share of every batch.

torchrun starts them and says who is who in the environment. The batch is that of the run, however
many share it: its gradient and the statistics of its batch norm are those of the whole batch, so
that the result does not depend on their number, but for the order in which floats are added.
"""

import atexit
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

# How long one waits for another that is slow, such as to read its images.
_PATIENCE = timedelta(minutes=30)


@dataclass(frozen=True)
class Share:
    """Which of the processes this one is: `rank` of `count`, and its place on its own machine."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "Share":
        """Returns the share that torchrun gives a process; without it all is one share."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        defaults = (0, 1, 0, 1)
        return cls(*(int(environ.get(n, d)) for n, d in zip(names, defaults, strict=True)))

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that tells of the run and keeps what comes out."""
        return self.rank == 0

    def of_batch(self, rows: Any) -> Any:
        """The part of a batch that this process trains on; together they are the batch."""
        return rows[self.rank :: self.count]

    def whole(self, part: Tensor) -> Tensor:
        """The batch [B, ...] of which every process gives the part that `of_batch` gave it."""
        if self.count == 1:
            return part
        part = part.contiguous()
        parts = [torch.empty_like(part) for _ in range(self.count)]
        distributed.all_gather(parts, part)
        return torch.stack(parts, 1).flatten(0, 1)

    def device(self, device: torch.device) -> torch.device:
        """The device of this process, of the kind of `device`."""
        if self.count > 1 and device.type == "cuda":
            return torch.device("cuda", self.local_rank)
        return device

    def trained(self, model: nn.Module, device: torch.device) -> nn.Module:
        """The model to call in training: its gradients are those of all shares together."""
        if self.count == 1:
            return model
        ids = [device] if device.type == "cuda" else None
        # Buffers are equal anyway: they hold what is computed from the whole batch.
        return DistributedDataParallel(model, device_ids=ids, forward_sync_buffers=False)

    def total(self, count: int, device: torch.device) -> int:
        """The sum of every process's count."""
        if self.count == 1:
            return count
        sums = torch.tensor(count, device=device)
        distributed.all_reduce(sums)
        return int(sums)

    def mean(self, values: Tensor) -> Tensor:
        """The mean of every process's values."""
        if self.count > 1:
            distributed.all_reduce(values)
            values /= self.count
        return values


@contextmanager
def joined(device: torch.device) -> Iterator[Share]:
    """Joins the other processes, if there are any, for as long as the block runs."""
    share = Share.of(os.environ)
    if share.count == 1:
        yield share
        return
    own = share.device(device)
    if own.type == "cuda":
        torch.cuda.set_device(own)
    backend = "nccl" if own.type == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=_PATIENCE)
    # Never freed, for these processes end without taking themselves apart: the end of a group waits
    # for its thread while it holds the interpreter, and that thread may be waiting for the
    # interpreter to free a tensor.
    atexit.register(_keep, distributed.group.WORLD)
    try:
        yield share
    finally:
        distributed.destroy_process_group()


def _keep(group: object) -> None:
    """Is never called before the process ends."""


def share_newest(path: Path, step: int, share: Share) -> None:
    """Gives all machines the file of the process with the highest step; -1 is without a file.

    Each machine has read its own, and a lost one's successor may have an older or a newer one.
    """
    if share.count == 1:
        return
    steps: list[int] = [-1] * share.count
    distributed.all_gather_object(steps, step)
    source = steps.index(max(steps))
    if max(steps) >= 0:
        data = [path.read_bytes() if share.rank == source else None]
        distributed.broadcast_object_list(data, src=source)
        if share.local_rank == 0 and share.rank != source and data[0] is not None:
            path.write_bytes(data[0])
    distributed.barrier()


def with_whole_batch_norm(model: nn.Module, share: Share) -> nn.Module:
    """Has every batch norm take its statistics from the whole batch."""
    if share.count > 1:
        for module in model.modules():
            for name, child in module.named_children():
                if isinstance(child, nn.BatchNorm2d):
                    setattr(module, name, WholeBatchNorm.of(child))
    return model


class WholeBatchNorm(nn.BatchNorm2d):
    """Batch norm over the shares of all processes, on any device; torch's own is for GPUs alone."""

    @classmethod
    def of(cls, norm: nn.BatchNorm2d) -> "WholeBatchNorm":
        """Returns one with the same parameters and statistics.

        What is part of the norm comes after it as before: timm's have activations of their own.
        """
        made = cls(norm.num_features, norm.eps, norm.momentum, norm.affine)
        made._parameters, made._buffers = norm._parameters, norm._buffers
        made._modules = norm._modules
        return made

    def forward(self, input: Tensor) -> Tensor:
        """Normalises [B, C, H, W] by what all processes hold; as torch's, where none trains."""
        normal = self._of_all(input) if self.training else super().forward(input)
        for module in self.children():
            normal = module(normal)
        return normal

    def _of_all(self, input: Tensor) -> Tensor:
        given, input = input.dtype, input.float()  # sums of bfloat16 would lose what is small
        dims, shape = (0, 2, 3), (1, -1, 1, 1)
        # Summed up, since a strategy may give some images of a batch to a norm of their own.
        count = input.new_tensor(input.numel() / input.shape[1], dtype=torch.float64)
        distributed.all_reduce(count)
        count = count.to(input.dtype)
        mean = _Sum.apply(input.sum(dims)) / count
        centred = input - mean.view(shape)
        variance = _Sum.apply((centred * centred).sum(dims)) / count
        self._remember(mean.detach(), variance.detach() * count / (count - 1))
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale.view(shape) + self.bias.view(shape)).to(given)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)


class _Sum(torch.autograd.Function):
    """The sum over all processes, of values and of gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        distributed.all_reduce(total)
        return total
