"""Teaches a diffusion model something: a word, a conditioning, its U-Net, or several together."""

import hashlib
from collections.abc import Iterator, Sequence
from math import sqrt
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, distributed
from torch.optim import AdamW

from diffusion.artefacts.facts import Facts
from diffusion.artefacts.files import write
from diffusion.autoencoder import Autoencoder
from diffusion.card import read_card
from diffusion.embeddings import Inputs
from diffusion.families.base import CONCATENATED
from diffusion.families.registry import family_of
from diffusion.fixed_shapes import ENCODER_ROWS
from diffusion.loading import load_pipeline
from diffusion.noise import normal
from diffusion.placement import Placement
from trainer import recipes
from trainer.distribution import Share
from trainer.tunings.base import Network, Piece, Samples, Setting, Text, chosen
from trainer.tunings.denoising import Denoising
from trainer.tunings.draws import Draw, Draws
from trainer.tunings.images import Latents, TuningImages
from trainer.tunings.methods import METHODS, REFERENCE_BATCH
from trainer.tunings.state import State
from trainer.tunings.values import Learned, TuneSpec, TuningResult

Spec = TuneSpec


class Tune:
    """Of the spec's folder it reads `rows.npz`, and leaves there the artefacts.

    What is learned is in float32; the frozen parts of a model on a GPU compute in bfloat16.
    """

    metrics = ("loss", "validation_loss")

    def __init__(self, spec: TuneSpec, share: Share, device: torch.device) -> None:
        self._spec, self._share, self._device = spec, share, device
        self._method = METHODS[spec.method]
        self.setting = setting = _setting(spec, device)
        self._images = setting.images
        self._text: Text = recipes.load("texts", self._method.text).create(setting)
        self._network: Network = recipes.load("networks", self._method.network).create(setting)
        autoencoder = Autoencoder(
            setting.pipeline.vae, setting.card, setting.placement, ENCODER_ROWS
        )
        self._latents = Latents(setting.images, autoencoder)
        self._denoising = Denoising(setting)
        times = self._denoising.time_count
        self._draws = Draws(setting.images, times, spec.batch_size, share, spec.seed)
        learned = [*self._text.tensors, *self._network.tensors]
        self.model = State(learned, spec.epoch_count, spec.patience)
        self.optimizer = AdamW(self._groups(), weight_decay=0.0)

    def batches(self, first_step: int) -> Iterator[Draw]:
        """This process's share of each."""
        return map(self._draws.batch, range(first_step, self._spec.step_count))

    def update(self, step: int, batch: Draw) -> Tensor:
        """One step of the whole batch's loss; returns it, and the latest validation loss."""
        spec, state = self._spec, self.model
        if state.epoch < 0:
            state.end_epoch(0.0, self._validation_loss())
        loss = self._losses(batch).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._share_gradients()
        self.optimizer.step()
        mean = self._share.mean(loss.detach().clone())
        state.epoch_loss += mean / spec.epoch_step_count
        if (step + 1) % spec.epoch_step_count == 0:
            state.end_epoch(float(state.epoch_loss), self._validation_loss())
        latest = float(state.validation_losses[state.epoch])
        return torch.stack([mean, torch.full_like(mean, latest)])

    def is_done(self, step: int) -> bool:
        """Whether the validation loss has fallen no more for long enough."""
        return step % self._spec.epoch_step_count == 0 and self.model.is_stale

    def finish(self, losses: tuple[float, ...], seconds: float) -> TuningResult:
        """Writes what was learned, at its best and otherwise."""
        state, images = self.model, self._images
        artefacts = [
            self._written(checkpoint, piece)
            for checkpoint, values in state.kept().items()
            for piece in self._pieces(values)
        ]
        return TuningResult(
            artefacts=tuple(artefacts),
            base_validation_loss=float(state.validation_losses[0]),
            validation_loss=float(state.validation_losses[state.best_epoch]),
            final_loss=float(np.mean(losses)),
            best_epoch=state.best_epoch,
            epoch_count=state.epoch,
            train_image_count=images.train_count,
            validation_image_count=len(images) - images.train_count,
            seconds=seconds,
            model_digest=self._spec.model_digest,
            data_digest=self._spec.data_digest,
            notes=(*self._text.notes(), *self._notes()),
        )

    def _notes(self) -> list[str]:
        """What was left out, in sentences."""
        count = self._images.train_count
        if len(self._images) > count:
            return []
        return [
            f"none of the {count} images is held out, since no class has five: the validation loss "
            "is that of the images trained on"
        ]

    def _groups(self) -> list[dict[str, object]]:
        rate = self._spec.learning_rate * sqrt(self._spec.batch_size / REFERENCE_BATCH)
        network = rate * self._method.network_rate
        groups: list[dict[str, object]] = [
            {"params": list(self._text.tensors), "lr": rate},
            {"params": list(self._network.tensors), "lr": network},
        ]
        return [group for group in groups if group["params"]]

    def _losses(self, draw: Draw) -> Tensor:
        samples = draw.samples
        both = list(zip(samples.rows, samples.generators, strict=True))
        latents = torch.cat([self._latents.drawn(row, generator) for row, generator in both])
        kind = latents.shape[1:], self._device, latents.dtype
        noise = torch.stack([normal(kind[0], one, *kind[1:]) for one in samples.generators])
        inputs: Inputs = self._text.inputs(samples)
        if self._method.is_beside:
            inputs = {**inputs, CONCATENATED: self._beside(samples)}
        times = torch.tensor(draw.times, device=self._device)
        return self._denoising.losses(latents, times, noise, inputs)

    def _beside(self, samples: Samples) -> Tensor:
        """The latent of another training image of each one's class; of itself if it is alone."""
        latents = []
        for row, label, one in zip(samples.rows, samples.labels, samples.generators, strict=True):
            rows = self._images.training_rows(label)
            others = rows[rows != row] if len(rows) > 1 else rows
            latents.append(self._latents.beside(int(others[chosen(len(others), one)])))
        return torch.stack(latents)

    @torch.no_grad()
    def _validation_loss(self) -> float:
        # Drawn anew, since generators remember what they gave.
        draw, size = self._draws.held_out(), self._spec.batch_size
        parts = [_part(draw, start, size) for start in range(0, len(draw.times), size)]
        total = torch.stack([self._losses(part).sum() for part in parts]).sum()
        count = torch.full_like(total, len(draw.times))
        sums = self._share.mean(torch.stack([total, count]))
        return float(sums[0] / sums[1])

    def _share_gradients(self) -> None:
        if self._share.count > 1:
            for tensor in self.model.tensors:
                distributed.all_reduce(tensor.grad)
                tensor.grad /= self._share.count

    def _pieces(self, values: Sequence[Tensor]) -> Sequence[Piece]:
        count = len(self._text.tensors)
        return [*self._text.pieces(values[:count]), *self._network.pieces(values[count:])]

    def _written(self, checkpoint: str, piece: Piece) -> Learned:
        spec = self._spec
        facts = Facts(
            piece.kind,
            base=spec.model_digest,
            method=spec.method,
            class_name=piece.class_name,
            data=spec.data_digest,
            recipe=spec.recipe_digest(),
            word=piece.word,
        )
        data = write(facts, piece.tensors)
        name = f"{checkpoint}-{piece.kind}{piece.suffix}.safetensors"
        (Path(spec.folder) / name).write_bytes(data)
        return Learned(
            name=name,
            sha256=hashlib.sha256(data).hexdigest(),
            kind=str(piece.kind),
            checkpoint=checkpoint,
            class_name=piece.class_name,
            image_count=piece.image_count,
            word=piece.word,
        )


def create(spec: TuneSpec, share: Share, device: torch.device) -> Tune:
    """The job of this process."""
    return Tune(spec, share, device)


def _setting(spec: TuneSpec, device: torch.device) -> Setting:
    card = read_card(Path(spec.model_folder))
    placement = Placement(device, torch.float32)
    return Setting(
        spec=spec,
        card=card,
        family=family_of(card.pipeline, card.name),
        pipeline=load_pipeline(card, placement),
        placement=placement,
        images=TuningImages(Path(spec.folder), spec.image_size),
    )


def _part(draw: Draw, start: int, size: int) -> Draw:
    """Some of the samples."""
    part, samples = slice(start, start + size), draw.samples
    cut = Samples(samples.rows[part], samples.labels[part], samples.generators[part])
    return Draw(cut, draw.times[part])
