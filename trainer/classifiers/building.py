"""Makes networks, optimisers and normalisation of the rows of the table."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from models.torchvision_cpu import declare_missing_operators
from trainer.classifiers.networks import NETWORKS
from trainer.classifiers.table import Classifier

_OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}


def build(classifier: Classifier, class_count: int) -> nn.Module:
    """The network: images [B, 3, H, W] to logits [B, class_count]."""
    return _LIBRARIES[classifier.library](classifier, class_count)


def create_optimizer(
    classifier: Classifier, parameters: Iterable[nn.Parameter], learning_rate: float
) -> torch.optim.Optimizer:
    """The row's optimiser at this learning rate."""
    choice = classifier.optimizer
    return _OPTIMIZERS[choice.name](parameters, lr=learning_rate, **choice.arguments)  # type: ignore[call-arg]


class Normaliser:
    """Takes uint8 images [B, H, W, 3] to what the network takes."""

    def __init__(self, classifier: Classifier, device: torch.device) -> None:
        mean, std = (
            torch.tensor(values, device=device).view(1, 3, 1, 1)
            for values in (classifier.mean, classifier.std)
        )
        self._scale, self._shift = 255 * std, mean / std

    def __call__(self, images: Tensor) -> Tensor:
        """float32 [B, 3, H, W], channels last in memory, with the mean 0 and the deviation 1."""
        return images.permute(0, 3, 1, 2).float().div_(self._scale).sub_(self._shift)


def _own(classifier: Classifier, class_count: int) -> nn.Module:
    return NETWORKS[classifier.network](class_count, **classifier.arguments)


def _torchvision(classifier: Classifier, class_count: int) -> nn.Module:
    declare_missing_operators()
    from torchvision.models import get_model

    network: nn.Module = get_model(
        classifier.network, weights=None, num_classes=class_count, **classifier.arguments
    )
    return network


def _timm(classifier: Classifier, class_count: int) -> nn.Module:
    declare_missing_operators()
    import timm

    network: nn.Module = timm.create_model(
        classifier.network, pretrained=False, num_classes=class_count, **classifier.arguments
    )
    return network


_LIBRARIES: dict[str, Callable[[Classifier, int], nn.Module]] = {
    "own": _own,
    "torchvision": _torchvision,
    "timm": _timm,
}
