"""One text conditioning [m, d] for a class, in place of what the text encoder makes of a prompt.

BURG, section 3.2. It begins as that of the prompt `simple_no_ws`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

from diffusion.artefacts.facts import Kind
from diffusion.embeddings import Inputs
from diffusion.words import Prompt
from trainer.tunings.base import Piece, Samples, Setting


class LearnedMatrices:
    """A conditioning for each cluster of the images; `cluster_of` says which is an image's."""

    def __init__(self, setting: Setting, cluster_of: Sequence[int], notes: Sequence[str]) -> None:
        self._setting, self._cluster_of, self._notes = setting, cluster_of, notes
        prompt = simple_prompt(setting.spec.class_texts[0])
        device = setting.placement.device
        with torch.no_grad():
            encoded = setting.family.encode_texts(setting.pipeline, [Prompt(prompt)], device)
        self._names, self._count = list(encoded), max(cluster_of) + 1
        self.tensors = [
            Parameter(rows.float().expand(self._count, *rows.shape[1:]).clone())
            for rows in encoded.values()
        ]

    def inputs(self, samples: Samples) -> Inputs:
        """The conditionings of the samples' clusters."""
        clusters = [self._cluster_of[row] for row in samples.rows]
        return {
            name: torch.stack([tensor[cluster] for cluster in clusters])
            for name, tensor in zip(self._names, self.tensors, strict=True)
        }

    def pieces(self, values: Sequence[Tensor]) -> Sequence[Piece]:
        of_training = self._cluster_of[: self._setting.images.train_count]
        return [
            Piece(
                Kind.CONDITIONING,
                {name: rows[cluster] for name, rows in zip(self._names, values, strict=True)},
                sum(one == cluster for one in of_training),
                self._setting.spec.class_names[0],
                suffix=f"-{cluster}" if self._count > 1 else "",
            )
            for cluster in range(self._count)
        ]

    def notes(self) -> Sequence[str]:
        return self._notes


def simple_prompt(text: str) -> str:
    """Returns BURG's `simple_no_ws`: all lemmas, which commas divide, without white space."""
    lemmas = ["".join(lemma.split()) for lemma in text.split(",")]
    return f"A photo of {', '.join(filter(None, lemmas))}."


def create(setting: Setting) -> LearnedMatrices:
    """One for all images."""
    return LearnedMatrices(setting, [0] * len(setting.images), ())
