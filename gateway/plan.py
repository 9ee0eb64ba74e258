"""The plan: which images to make, and how. Pure: the same input gives the same items."""

import heapq
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby, islice
from operator import attrgetter
from typing import overload

import numpy as np

from gateway.api.resources import Recipe
from gateway.digests import Plain, digest, seed_of, sha256_of
from gateway.methods.artefacts import Artefact, ArtefactKind
from gateway.methods.base import (
    ClassMaterial,
    Draft,
    DraftsTogether,
    Image,
    Method,
    Slot,
    Text,
    Values,
)
from gateway.quotas import Numbers, Quota

# Images that are drafted together where a method can.
_TOGETHER = 256


@dataclass(frozen=True)
class GeneratorModel:
    """A model of the generator, as ListModels gives it.

    `image_conditions` are the fields of its ImageCondition that it takes. `engine` is what of the
    settings decides over what it encodes.
    """

    name: str
    mode: str
    digest: str
    text_encoder: str
    text_shape: tuple[int, int]
    image_encoder: str
    image_dimension: int
    default_steps: int
    default_guidance_scale: float
    width: int = 0
    height: int = 0
    engine: str = ""
    image_conditions: tuple[str, ...] = ()

    def digest_with(self, artefacts: Iterable[Artefact]) -> str:
        """Returns the digest that images have of this model with artefacts in it."""
        found = sorted(one.sha256 for one in artefacts if not one.kind.is_of_text)
        return sha256_of(" ".join([self.digest, *found]).encode()) if found else self.digest

    def takes_adapter_images(self, artefacts: Iterable[Artefact]) -> bool:
        """Says whether it takes image embeddings as models with an IP-Adapter do."""
        is_given = any(one.kind == ArtefactKind.ADAPTER for one in artefacts)
        return is_given or "adapter" in self.image_conditions


@dataclass(frozen=True)
class Item:
    """One image to make. Equal in everything that determines it: equal `item_id`."""

    item_id: str
    slot: Slot
    parents: tuple[str, ...]
    prompt: str
    text: Text
    image: Image
    lineage: Mapping[str, Plain]
    artefacts: tuple[Artefact, ...] = ()

    @property
    def order(self) -> tuple[int, int, int]:
        """Where it stands in every list of items: class, index, attempt."""
        return self.slot.label, self.slot.index, self.slot.attempt


# Given labels [n] and numbers [n] of a method's images: where these stand in their classes.
Places = Callable[[Numbers, Numbers], Numbers]


@dataclass(frozen=True)
class Plan:
    """What all items that one method makes of an augmentation share.

    `quota` says which images of each class are this method's.
    """

    dataset_digest: str
    recipe: Recipe
    method: Method
    values: Values
    model_digest: str
    quota: Quota = field(default_factory=Quota)

    def slot(self, class_name: str, label: int, index: int, attempt: int) -> Slot:
        """Returns a slot with its seed: a hash of what it is, never of where it stands."""
        seed = seed_of(self.recipe.seed, self.method.id, class_name, index, attempt)
        return Slot(class_name, label, index, attempt, seed)

    def first_slots(self, materials: Sequence[ClassMaterial]) -> "FirstSlots":
        """Returns the first attempt at every wanted image, by label and index."""
        ordered = sorted(materials, key=lambda m: m.label)
        return FirstSlots(self, ordered, list(accumulate(map(self.wanted, ordered))))

    def kept(self, material: ClassMaterial) -> int:
        """Returns the number of images of a class that are wanted now."""
        name, real = material.class_name, len(material.parents)
        return self.quota.of(self.recipe.count_of(name, real), self.recipe.wanted_of(name, real))

    def wanted(self, material: ClassMaterial) -> int:
        """Returns the number of accepted images to make of a class now, to choose those from."""
        return self.recipe.to_make(self.kept(material))

    def count(self, material: ClassMaterial) -> int:
        """Returns the number of accepted images to make of a class in all."""
        count = self.recipe.count_of(material.class_name, len(material.parents))
        return self.recipe.to_make(self.quota.of(count))

    def places(self, materials: Iterable[ClassMaterial]) -> Places | None:
        """Returns what says where images stand among all of their class, where several methods
        make them; None where this one makes all."""
        if self.quota.is_whole:
            return None
        sizes = {
            one.label: self.recipe.count_of(one.class_name, len(one.parents)) for one in materials
        }
        table = np.zeros(max(sizes, default=0) + 1, np.int64)
        table[list(sizes)] = list(sizes.values())
        return lambda labels, numbers: self.quota.places(numbers, table[labels])

    def sample(self, slots: Iterable[Slot], count: int) -> "Sample":
        """Returns the `count` slots with the lowest seeds, which are random, of first attempts."""
        return Sample(self, max(heapq.nsmallest(count, map(_rank, slots)), default=()))

    def next_slots(
        self, materials: Iterable[ClassMaterial], places: Sequence[int], attempt: int
    ) -> "NextSlots":
        """Returns an attempt at some images, with other seeds than those before.

        `places` are label and index of each, one after the other.
        """
        names = {material.label: material.class_name for material in materials}
        return NextSlots(self, names, places, attempt)

    def items(
        self,
        slots: Iterable[Slot],
        materials: Mapping[str, ClassMaterial],
        pause: Callable[[], None] = lambda: None,
    ) -> list[Item]:
        """Drafts the items of `slots`, sorted by class, index and attempt; pauses after each."""
        items = []
        for slot, draft in self.drafts(slots, materials):
            items.append(self._item(slot, draft, materials[slot.class_name]))
            pause()
        return sorted(items, key=lambda item: item.order)

    def drafts(
        self, slots: Iterable[Slot], materials: Mapping[str, ClassMaterial]
    ) -> Iterator[tuple[Slot, Draft]]:
        """Yields what the method drafts for each slot, in order; without the ids, which cost."""
        if not isinstance(self.method, DraftsTogether):
            for slot in slots:
                yield slot, self.method.draft(slot, materials[slot.class_name], self.values)
            return
        for class_name, of_class in groupby(slots, key=attrgetter("class_name")):
            while some := list(islice(of_class, _TOGETHER)):
                drafts = self.method.drafts(some, materials[class_name], self.values)
                yield from zip(some, drafts, strict=True)

    def _item(self, slot: Slot, draft: Draft, material: ClassMaterial) -> Item:
        parents = tuple(parent.item_id for parent in draft.parents)
        lineage: dict[str, Plain] = {
            "method": self.method.id,
            "display_name": material.display_name,
            "parameters": dict(self.values),
            "index": slot.index,
            "dataset": self.dataset_digest,
            "parents_sha256": [parent.sha256 for parent in draft.parents],
            "deterministic": self.recipe.deterministic,
            **draft.lineage,
        }
        if self.recipe.negative_prompt:
            lineage["negative_prompt"] = self.recipe.negative_prompt
        more: list[Plain] = []
        if draft.artefacts:
            # By their digests alone: the same file under another name makes the same image.
            more = [{"artefacts": sorted([one.kind, one.sha256] for one in draft.artefacts)}]
            lineage["artefacts"] = [vars(one) for one in draft.artefacts]
        item_id = self.item_id(slot.class_name, parents, draft.prompt, slot.seed, *more)
        return Item(
            item_id,
            slot,
            parents,
            draft.prompt,
            draft.text,
            draft.image,
            lineage,
            draft.artefacts,
        )

    def item_id(
        self, class_name: str, parents: tuple[str, ...], prompt: str, seed: int, *more: Plain
    ) -> str:
        """Returns the id of an item: the digest of everything that determines it."""
        recipe = self.recipe
        texts = {one.name for one in self.method.parameters if one.in_prompt}
        values = {name: value for name, value in self.values.items() if name not in texts}
        how: list[Plain] = [self.method.id, values, recipe.steps, recipe.guidance_scale]
        if recipe.negative_prompt:  # Without one the id is what it was before there were any.
            how.append(recipe.negative_prompt)
        of = (class_name, list(parents), how, prompt, seed)
        return digest(self.dataset_digest, *of, self.model_digest, *more)


@dataclass(frozen=True)
class Sample:
    """A random part of the images of a plan. What holds for one holds for every attempt at it.

    It is known by the rank of its last image, so that a large one takes no room.
    """

    plan: Plan
    last: Sequence[int]

    def has(self, slot: Slot) -> bool:
        """Says whether the image of a slot is in it."""
        first = self.plan.slot(slot.class_name, slot.label, slot.index, 0) if slot.attempt else slot
        return _rank(first) <= tuple(self.last)


def _rank(slot: Slot) -> tuple[int, ...]:
    return slot.seed, slot.label, slot.index


class _Slots(Sequence[Slot], ABC):
    """Slots that are made when they are asked for."""

    @overload
    def __getitem__(self, place: int) -> Slot: ...

    @overload
    def __getitem__(self, place: slice) -> list[Slot]: ...

    def __getitem__(self, place: int | slice) -> Slot | list[Slot]:
        if isinstance(place, slice):
            return [self._slot(number) for number in range(*place.indices(len(self)))]
        return self._slot(range(len(self))[place])

    @abstractmethod
    def _slot(self, number: int) -> Slot:
        """Returns one, by its number."""


@dataclass(frozen=True)
class FirstSlots(_Slots):
    """The first attempt at every wanted image. `ends` are where those of each class end."""

    plan: Plan
    materials: Sequence[ClassMaterial]
    ends: Sequence[int]

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def _slot(self, number: int) -> Slot:
        which = bisect_right(self.ends, number)
        index = number - (self.ends[which - 1] if which else 0)
        material = self.materials[which]
        return self.plan.slot(material.class_name, material.label, index, 0)


@dataclass(frozen=True)
class NextSlots(_Slots):
    """A further attempt at some images."""

    plan: Plan
    names: Mapping[int, str]
    places: Sequence[int]
    attempt: int

    def __len__(self) -> int:
        return len(self.places) // 2

    def _slot(self, number: int) -> Slot:
        label, index = self.places[2 * number], self.places[2 * number + 1]
        return self.plan.slot(self.names[label], label, index, self.attempt)
