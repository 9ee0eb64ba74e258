"""Turns the items of a request into items of the engine, and looks which are made already."""

import asyncio
from dataclasses import dataclass

from variegate.generator.v1 import generator_pb2 as pb

from diffusion.artefacts.facts import Artefact
from diffusion.card import ModelCard
from diffusion.errors import DiffusionError
from generator.artefacts import artefact_from_pb
from generator.backend import Backend
from generator.engine.checks import changed_card, check_item
from generator.engine.conditions.registry import condition_from_pb
from generator.engine.items import Item
from generator.errors import translate
from generator.gallery import Gallery, Stored, key_of
from generator.reader import CallReader
from generator.texts import text_from_pb
from servicekit.errors import ServiceError


@dataclass(frozen=True)
class Sampling:
    """What holds for all items of a call, defaults filled in."""

    artefacts: tuple[Artefact, ...]
    steps: int
    guidance_scale: float
    deterministic: bool


@dataclass(frozen=True, eq=False)
class RequestedItem:
    """An item of a call, ready to be made, or found in the store."""

    item_id: str
    item: Item
    key: str
    found: Stored | None


@dataclass(frozen=True)
class Refused:
    """An item of a call that cannot be made."""

    item_id: str
    error: ServiceError


def sampling_of(request: pb.GenerateImagesRequest, card: ModelCard) -> Sampling:
    """Fills in the model's defaults.

    Raises InvalidArgument or BadCondition naming an artefact that a call of the model cannot have.
    """
    sampling = request.sampling
    artefacts = tuple(
        artefact_from_pb(message, f"artefacts[{number}]")
        for number, message in enumerate(request.artefacts)
    )
    changed_card(card, artefacts)
    has_scale = sampling.HasField("guidance_scale")
    return Sampling(
        artefacts=artefacts,
        steps=sampling.steps or card.default_steps,
        guidance_scale=sampling.guidance_scale if has_scale else card.default_guidance_scale,
        deterministic=sampling.deterministic,
    )


class ItemReader:
    """Reads the items of one call."""

    def __init__(
        self,
        sampling: Sampling,
        prefix: str,
        backend: Backend,
        gallery: Gallery,
        reader: CallReader,
    ) -> None:
        self._card, self._sampling, self._prefix = reader.card, sampling, prefix
        self._changed_card = changed_card(reader.card, sampling.artefacts)
        self._signature = backend.signature(deterministic=sampling.deterministic)
        self._gallery, self._reader = gallery, reader

    async def take(self, index: int, wanted: pb.Item) -> RequestedItem | Refused:
        """Reads the item's images, checks it, and looks for it in the store."""
        field = f"items[{index}]."
        try:
            item = await self._item(wanted, field)
            check_item(item, self._card)
            key = key_of(item, self._card, self._signature, self._prefix)
            found = await asyncio.to_thread(self._gallery.find, key)
        except (ServiceError, DiffusionError) as error:
            return Refused(wanted.item_id, translate(error, field))
        return RequestedItem(wanted.item_id, item, key, found)

    async def _item(self, wanted: pb.Item, field: str) -> Item:
        sampling = self._sampling
        return Item(
            model=self._card.name,
            seed=wanted.seed,
            steps=sampling.steps,
            guidance_scale=sampling.guidance_scale,
            text=await text_from_pb(wanted.text, f"{field}text", self._reader),
            negative=await text_from_pb(wanted.negative, f"{field}negative", self._reader),
            condition=await condition_from_pb(
                wanted.image, f"{field}image", self._reader, self._changed_card
            ),
            deterministic=sampling.deterministic,
            artefacts=sampling.artefacts,
        )
