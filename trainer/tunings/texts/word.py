"""A pseudo-word for a class, in random text templates: textual inversion.

BURG, section 3.2; Gal et al. 2022, section 3. It begins as the last word of the class's first
lemma, or as the mean of its tokens where there are several. Only its vector is learned.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

from diffusion.artefacts.facts import Kind
from diffusion.embeddings import Inputs
from diffusion.words import Prompt, Word
from trainer.tunings.base import Piece, Samples, Setting, chosen


class LearnedWord:
    """One vector [1, d] for each text encoder."""

    def __init__(self, setting: Setting) -> None:
        self._setting, self._spec = setting, setting.spec
        self._parts = setting.family.text_encoders
        first = first_word(self._spec.class_texts[0])
        self.tensors = [Parameter(_vector(setting, part, first)) for part in self._parts]
        self._name = word_of(self._spec.class_names[0])

    def inputs(self, samples: Samples) -> Inputs:
        """The templates of the samples, with the word in them."""
        vectors = dict(zip(self._parts, self.tensors, strict=True))
        word = Word(self._name, "", vectors)
        templates = self._spec.templates
        texts = [templates[chosen(len(templates), one)] for one in samples.generators]
        prompts = [Prompt(text.replace("{}", self._name), (word,)) for text in texts]
        setting = self._setting
        device = setting.placement.device
        return setting.family.encode_texts(setting.pipeline, prompts, device)

    def pieces(self, values: Sequence[Tensor]) -> Sequence[Piece]:
        tensors = dict(zip(self._parts, values, strict=True))
        count, name = self._setting.images.train_count, self._spec.class_names[0]
        return [Piece(Kind.TOKENS, tensors, count, name, self._name)]

    def notes(self) -> Sequence[str]:
        return ()


def first_word(text: str) -> str:
    """Returns the last word of the first of several lemmas that commas divide."""
    return text.split(",")[0].split()[-1]


def word_of(class_name: str) -> str:
    """Returns the pseudo-word of a class, which has no white space."""
    kept = "".join(letter if letter.isalnum() else "-" for letter in class_name)
    return f"<{kept[:60]}>"


def _vector(setting: Setting, part: str, word: str) -> Tensor:
    tokenizer = getattr(setting.pipeline, part.replace("text_encoder", "tokenizer"))
    table = getattr(setting.pipeline, part).get_input_embeddings().weight
    ids = tokenizer(word, add_special_tokens=False).input_ids
    vectors = table.detach()[torch.tensor(ids, device=table.device)]
    return vectors.float().mean(0, keepdim=True)


create = LearnedWord
