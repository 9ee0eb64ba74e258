"""The text templates with the names of the classes in them; nothing of the text is learned."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

from diffusion.embeddings import Inputs
from diffusion.encoders import Encoders
from trainer.tunings.base import Piece, Samples, Setting, chosen


class Prompts:
    """A random template for each sample."""

    def __init__(self, setting: Setting) -> None:
        self._spec = setting.spec
        self._encoders = Encoders(setting.pipeline, setting.card, setting.placement)
        self.tensors: Sequence[Parameter] = ()

    @torch.no_grad()
    def inputs(self, samples: Samples) -> Inputs:
        templates, texts = self._spec.templates, self._spec.class_texts
        encoded = self._encoders.texts(
            [
                templates[chosen(len(templates), generator)].replace("{}", texts[label])
                for label, generator in zip(samples.labels, samples.generators, strict=True)
            ]
        )
        return {name: torch.stack([one[name] for one in encoded]) for name in encoded[0]}

    def pieces(self, values: Sequence[Tensor]) -> Sequence[Piece]:
        return ()

    def notes(self) -> Sequence[str]:
        return ()


create = Prompts
