"""The shape that every method has, and the values that methods work with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from gateway.api.resources import ClassPrompts
from gateway.datasets.manifest import DatasetItem
from gateway.digests import Plain, seed_of
from gateway.methods.mixing.embedding import Dropout, EmbedCutMix, EmbedMixUp
from servicekit.errors import InvalidArgument

Value = int | float | str
Values = Mapping[str, Value]


@dataclass(frozen=True)
class Parameter:
    """A parameter of a method. The type of `default` is its type; the range is closed."""

    name: str
    default: Value
    description: str
    minimum: float | None = None
    maximum: float | None = None

    def parse(self, text: str) -> Value:
        """Returns the value of `text`. Raises InvalidArgument naming the range."""
        kind = type(self.default)
        try:
            value = kind(text)
        except ValueError:
            raise self._error(text) from None
        number = float(value) if isinstance(value, int | float) else 0.0
        low = self.minimum is not None and not number >= self.minimum  # "not" catches NaN.
        high = self.maximum is not None and not number <= self.maximum
        if low or high:
            raise self._error(text)
        return value

    def _error(self, text: str) -> InvalidArgument:
        kind = {int: "an integer", float: "a number", str: "a text"}[type(self.default)]
        bounds = "" if self.minimum is None else f" in [{self.minimum:g}, {self.maximum:g}]"
        return InvalidArgument(
            f"the parameter {self.name} is {text!r}; it must be {kind}{bounds}",
            field=f"augmentation.parameters.{self.name}",
            reason="PARAMETER_OUT_OF_RANGE",
        )


@dataclass(frozen=True)
class Needs:
    """What must be known before a method can draft.

    `prompt_count` of 0 asks for as many prompts as the parameter "prompts_per_class" says, or one
    per image. `styled_strategy` writes further prompts, for images that are no photographs. With
    `senses` the meaning of every class is looked for first, and prompts that say the same are
    replaced.
    """

    captions: bool = False
    image_embeddings: bool = False
    pool: bool = False
    prompt_strategy: str = ""
    prompt_count: int = 0
    styled_strategy: str = ""
    senses: bool = False


@dataclass(frozen=True)
class Slot:
    """One wanted image. `seed` depends on plan seed, method, class, index and attempt alone."""

    class_name: str
    label: int
    index: int
    attempt: int
    seed: int

    def choose(self, purpose: str, count: int) -> int:
        """Draws a number from 0 to count - 1 for one purpose."""
        return seed_of(self.seed, purpose) % count


@dataclass(frozen=True)
class StyledPrompt:
    """A prompt for an image that is no photograph, the language model that wrote it, its style."""

    text: str
    model: str
    style: str


@dataclass(frozen=True)
class ClassMaterial:
    """What is known about a class: its possible parents, their captions, prompts, model shapes.

    `display_name` is what texts call it. `parents` are sorted by id; `captions` are the different
    ones, sorted; `prompts` in order, and `prompt_models` the language model that wrote each, empty
    for a template's. `sense` is what lineages say about the meaning of the class, and `figures`
    describe all its prompts. `problem` says why no prompts could be asked for.
    """

    class_name: str
    label: int
    parents: tuple[DatasetItem, ...] = ()
    captions: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    prompt_models: tuple[str, ...] = ()
    styled: tuple[StyledPrompt, ...] = ()
    sense: Mapping[str, Plain] = field(default_factory=dict)
    figures: ClassPrompts | None = None
    text_shape: tuple[int, int] = (0, 0)
    image_dimension: int = 0
    display_name: str = ""
    problem: str = ""


@dataclass(frozen=True)
class PromptText:
    """A text condition: a prompt."""

    prompt: str


@dataclass(frozen=True)
class MixedText:
    """A text condition: a mix of the embeddings of captions, numbered from 0.

    It begins as that of `start`; `coarse` are (source, first row, end), `fine` are (source, row,
    first feature, end).
    """

    captions: tuple[str, ...]
    start: int
    coarse: tuple[tuple[int, ...], ...]
    fine: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class ConcatImage:
    """An image condition: a real image, concatenated as latent."""

    image_uri: str


@dataclass(frozen=True)
class StartImage:
    """An image condition: a real image noised part of the way, 0 < strength <= 1."""

    image_uri: str
    strength: float


@dataclass(frozen=True)
class EmbeddingMix:
    """An image condition: the embeddings of one or two images, blended, then thinned out."""

    image_uris: tuple[str, ...]
    blend: EmbedCutMix | EmbedMixUp | None = None
    dropout: Dropout | None = None
    noise_level: int = 0


Text = PromptText | MixedText | None


@dataclass(frozen=True)
class PixelMix:
    """An image condition: the pixels of two images, mixed before they are embedded.

    `share` is that of the first.
    """

    image_uris: tuple[str, str]
    share: float


Image = ConcatImage | StartImage | EmbeddingMix | PixelMix | None


@dataclass(frozen=True)
class Draft:
    """How one image is to be made. `lineage` holds every draw that is not said otherwise."""

    parents: tuple[DatasetItem, ...] = ()
    prompt: str = ""
    text: Text = None
    image: Image = None
    lineage: Mapping[str, Plain] = field(default_factory=dict)


class Method(Protocol):
    """An augmentation method.

    `model` names the generator's model; empty if it makes no images. A method that needs image
    embeddings takes another model where there is none of that name, see `need_model`.
    """

    id: str
    description: str
    source: str
    model: str
    needs: Needs
    parameters: tuple[Parameter, ...]

    def draft(self, slot: Slot, material: ClassMaterial, values: Values) -> Draft:
        """Drafts one image. Pure: the same arguments give the same draft."""


@runtime_checkable
class DraftsTogether(Protocol):
    """A method that drafts many images of a class for less than one by one, and the same."""

    def drafts(
        self, slots: Sequence[Slot], material: ClassMaterial, values: Values
    ) -> Sequence[Draft]:
        """Drafts an image for each slot, in order."""


def prompt_of(slot: Slot, material: ClassMaterial) -> str:
    """Returns the prompt of a slot: its own by index, another one for every further attempt."""
    return material.prompts[_prompt_index(slot, material)]


def prompt_lineage(slot: Slot, material: ClassMaterial, strategy: str) -> dict[str, Plain]:
    """Returns who wrote the prompt of a slot."""
    lineage: dict[str, Plain] = {"prompt_strategy": strategy}
    writer = material.prompt_models[_prompt_index(slot, material)] if material.prompt_models else ""
    if writer:
        lineage["llm"] = writer
    if material.sense:
        lineage["sense"] = material.sense
    return lineage


def _prompt_index(slot: Slot, material: ClassMaterial) -> int:
    return (slot.index + slot.attempt) % len(material.prompts)
