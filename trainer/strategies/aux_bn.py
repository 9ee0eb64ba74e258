"""Half of every batch is synthetic, and has batch norms of its own that no test image meets."""

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor, nn

from trainer.strategies.base import Draw, Sources, Strategy, UnfitModelError, joined, shuffled

SOURCE = "DIVERSIFY section 3 (auxiliary batch norm); Xie et al., Adversarial Examples Improve"
NEEDS_SYNTHETIC = True
NEEDS_BATCH_NORM = True
SMALLEST_BATCH = 4  # two images of each kind, or there is no variance

_KINDS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class AuxiliaryNorm(nn.Module):
    """A batch norm for real images and one for synthetic ones, which starts as the former does."""

    def __init__(self, main: nn.Module) -> None:
        super().__init__()
        self.main = main
        self.auxiliary = deepcopy(main)
        self.real_count: int | None = None
        """How many images of the batch are real: they come before the synthetic ones."""

    def forward(self, images: Tensor) -> Tensor:
        """Normalises [B, ...], the real and the synthetic images apart; for a test all are real."""
        if not self.training or self.real_count is None:
            real: Tensor = self.main(images)
            return real
        parts = images[: self.real_count], images[self.real_count :]
        norms = zip((self.main, self.auxiliary), parts, strict=True)
        return torch.cat([norm(part) for norm, part in norms if len(part)])


class AuxiliaryBatchNorm(Strategy):
    """Both kinds in shuffled passes of their own; an odd batch gives the odd image to the real."""

    def __init__(self, sources: Sources) -> None:
        super().__init__(sources)
        self._norms: list[AuxiliaryNorm] = []

    def draw(self, step: int) -> Draw:
        sources = self.sources
        half = sources.batch_size // 2
        more = sources.batch_size - half
        real = shuffled(sources.real_count, step * more, (step + 1) * more, sources.seed)
        synthetic_count = sources.count - sources.real_count
        synthetic = shuffled(synthetic_count, step * half, (step + 1) * half, sources.seed)
        return joined(real, synthetic, sources.real_count)

    def adapt(self, model: nn.Module) -> nn.Module:
        places = [
            (module, name)
            for module in list(model.modules())
            for name, child in module.named_children()
            if isinstance(child, _KINDS)
        ]
        if not places:
            raise UnfitModelError(
                "the strategy 'aux_bn' needs a classifier with batch norm, which this one lacks; "
                "use the strategy 'combined', or a classifier such as 'resnet50'"
            )
        for module, name in places:
            norm = AuxiliaryNorm(getattr(module, name))
            setattr(module, name, norm)
            self._norms.append(norm)
        return model

    def weights(self, model: nn.Module) -> Mapping[str, Tensor]:
        weights = dict(model.state_dict())
        for place, module in model.named_modules():
            if isinstance(module, AuxiliaryNorm):
                for key in module.auxiliary.state_dict():
                    del weights[f"{place}.auxiliary.{key}"]
                    weights[f"{place}.{key}"] = weights.pop(f"{place}.main.{key}")
        return weights

    def logits(self, model: nn.Module, images: Tensor, synthetic: Tensor) -> Tensor:
        # `draw` puts the real images first, and a share of a batch keeps its order.
        real_count = int((~synthetic).sum())
        for norm in self._norms:
            norm.real_count = real_count
        return super().logits(model, images, synthetic)


def create(sources: Sources) -> Strategy:
    """The strategy for these sources."""
    return AuxiliaryBatchNorm(sources)
