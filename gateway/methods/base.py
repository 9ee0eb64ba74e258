"""The shape that every method has, and the values that methods work with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol, runtime_checkable

from gateway.api.resources import ClassPrompts
from gateway.datasets.manifest import DatasetItem
from gateway.digests import Plain, seed_of
from gateway.methods.artefacts import Artefact, Learned, Tuning
from gateway.methods.mixing.embedding import Dropout, EmbedCutMix, EmbedMixUp
from gateway.methods.mixing.pixels import CutMix, MixUp
from servicekit.errors import InvalidArgument
from servicekit.values import value_of

Value = int | float | str
Values = Mapping[str, Value]


@dataclass(frozen=True)
class Parameter:
    """A parameter of a method. The type of `default` is its type; the range is closed.

    One that is `in_prompt` decides over the prompt alone, which ids of items have anyway.
    """

    name: str
    default: Value
    description: str
    minimum: float | None = None
    maximum: float | None = None
    in_prompt: bool = False

    def parse(self, text: str) -> Value:
        """Returns the value of `text`. Raises InvalidArgument naming the range."""
        try:
            return value_of(text, type(self.default), self.minimum, self.maximum)
        except ValueError as error:
            raise InvalidArgument(
                f"the parameter {self.name} is {text!r}; it must be {error}",
                field=f"augmentation.parameters.{self.name}",
                reason="PARAMETER_OUT_OF_RANGE",
            ) from error


@dataclass(frozen=True)
class Needs:
    """What must be known before a method can draft.

    `prompt_count` of 0 asks for as many prompts as the parameter "prompts_per_class" says, or one
    per image. `styled_strategy` writes further prompts, for images that are no photographs. With
    `senses` the meaning of every class is looked for first, and prompts that say the same are
    replaced. With `parents` a class must have images to start from, as it must for captions and
    image embeddings. With `no_guidance` there is no text to guide by, and guidance is off.
    `tuning` is learned first; its artefacts are then in each class's material.
    """

    captions: bool = False
    image_embeddings: bool = False
    pool: bool = False
    prompt_strategy: str = ""
    prompt_count: int = 0
    styled_strategy: str = ""
    senses: bool = False
    parents: bool = False
    no_guidance: bool = False
    tuning: Tuning | None = None


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
    describe all its prompts. `artefacts` were learned for the class, or for all, as the method's
    tuning says. `problem` says why no prompts could be asked for.
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
    artefacts: tuple[Learned, ...] = ()


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
    """An image condition: a real image noised part of the way, 0 <= strength <= 1.

    With 0 the image itself is what is made.
    """

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
    """An image condition: two images whose pixels are mixed before they are embedded.

    The embedding is thinned out afterwards.
    """

    image_uris: tuple[str, str]
    mix: MixUp | CutMix
    dropout: Dropout | None = None
    noise_level: int = 0


Image = ConcatImage | StartImage | EmbeddingMix | PixelMix | None


@dataclass(frozen=True)
class Draft:
    """How one image is to be made. `lineage` holds every draw that is not said otherwise.

    `artefacts` are used for it: at most one of UNET and of ADAPTER, and of its text either one of
    CONDITIONING, without another text, or any number of TOKENS.
    """

    parents: tuple[DatasetItem, ...] = ()
    prompt: str = ""
    text: Text = None
    image: Image = None
    lineage: Mapping[str, Plain] = field(default_factory=dict)
    artefacts: tuple[Artefact, ...] = ()


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
class Composed(Protocol):
    """A method that is a mix of others: each makes a share of every class's images.

    `methods` are their ids, and `needs` says what any of them needs.
    """

    id: str
    description: str
    source: str
    needs: Needs
    parameters: tuple[Parameter, ...]
    methods: tuple[str, ...]

    def shares(self, values: Values) -> Sequence[tuple[str, Fraction, Values]]:
        """Returns the methods, the share of each, and their values; the shares add up to 1."""


@runtime_checkable
class DraftsTogether(Protocol):
    """A method that drafts many images of a class for less than one by one, and the same."""

    def drafts(
        self, slots: Sequence[Slot], material: ClassMaterial, values: Values
    ) -> Sequence[Draft]:
        """Drafts an image for each slot, in order."""


def prompt_number(slot: Slot, material: ClassMaterial, kinds: int = 1) -> int:
    """Returns which prompt a slot has: its own by index, another one for every further attempt.

    Where `kinds` of prompts take turns, every attempt has one of the same kind.
    """
    count = len(material.prompts)
    index = slot.index % count
    if slot.index >= count > kinds:  # They begin again after whole turns, so that shares stay.
        index = slot.index % (count - count % kinds)
    alike = range(index % kinds, count, kinds)
    return alike[(index // kinds + slot.attempt) % len(alike)]


def prompt_lineage(number: int, material: ClassMaterial, strategy: str) -> dict[str, Plain]:
    """Returns who wrote a prompt."""
    lineage: dict[str, Plain] = {"prompt_strategy": strategy}
    writer = material.prompt_models[number] if material.prompt_models else ""
    if writer:
        lineage["llm"] = writer
    if material.sense:
        lineage["sense"] = material.sense
    return lineage
