"""Turns the items of a request into items of the engine, and looks which are made already."""

import asyncio
from dataclasses import dataclass

from variegate.generator.v1 import generator_pb2 as pb

from diffusion.card import Card
from diffusion.errors import DiffusionError
from generator import tensors
from generator.backend import Backend
from generator.engine.checks import check_item
from generator.engine.conditions.registry import condition_from_pb
from generator.engine.items import Item, Variant
from generator.errors import translate
from generator.gallery import Gallery, Stored, key_of
from generator.reader import CallReader
from servicekit.errors import ServiceError
from servicekit.storage import to_key


@dataclass(frozen=True)
class Sampling:
    """What holds for all items of a call, defaults filled in."""

    variant: Variant | None
    steps: int
    guidance_scale: float
    deterministic: bool


@dataclass(frozen=True, eq=False)
class Order:
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


def sampling_of(request: pb.GenerateImagesRequest, card: Card) -> Sampling:
    """Fills in the model's defaults. Raises InvalidArgument if the variant's URI is none."""
    sampling, variant = request.sampling, None
    if request.HasField("variant"):
        to_key(request.variant.uri, "variant.uri")
        variant = Variant(request.variant.uri, request.variant.sha256)
    has_scale = sampling.HasField("guidance_scale")
    return Sampling(
        variant=variant,
        steps=sampling.steps or card.default_steps,
        guidance_scale=sampling.guidance_scale if has_scale else card.default_guidance_scale,
        deterministic=sampling.deterministic,
    )


class OrderBook:
    """The orders of one call."""

    def __init__(
        self,
        sampling: Sampling,
        prefix: str,
        backend: Backend,
        gallery: Gallery,
        reader: CallReader,
    ) -> None:
        self._card, self._sampling, self._prefix = reader.card, sampling, prefix
        self._signature = backend.signature(deterministic=sampling.deterministic)
        self._gallery, self._reader = gallery, reader

    async def take(self, index: int, wanted: pb.Item) -> Order | Refused:
        """Reads the item's images, checks it, and looks for it in the store."""
        field = f"items[{index}]."
        try:
            item = await self._item(wanted, field)
            check_item(item, self._card)
            key = key_of(item, self._card, self._signature, self._prefix)
            found = await asyncio.to_thread(self._gallery.find, key)
        except (ServiceError, DiffusionError) as error:
            return Refused(wanted.item_id, translate(error, field))
        return Order(wanted.item_id, item, key, found)

    async def _item(self, wanted: pb.Item, field: str) -> Item:
        sampling = self._sampling
        return Item(
            model=self._card.name,
            seed=wanted.seed,
            steps=sampling.steps,
            guidance_scale=sampling.guidance_scale,
            text=tensors.text_from_pb(wanted.text, f"{field}text", self._card),
            negative=tensors.text_from_pb(wanted.negative, f"{field}negative", self._card),
            condition=await condition_from_pb(
                wanted.image, f"{field}image", self._reader, self._card
            ),
            deterministic=sampling.deterministic,
            variant=sampling.variant,
        )
