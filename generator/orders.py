"""Turns the items of a request into items of the engine, and looks which are made already."""

import asyncio
from dataclasses import dataclass

from PIL import Image
from variegate.generator.v1 import generator_pb2 as pb

from diffusion.card import Card
from diffusion.embeddings import FloatArray, Text
from diffusion.errors import DiffusionError
from diffusion.pixels import fit
from generator import tensors
from generator.backend import Backend
from generator.engine.checks import check_item
from generator.engine.items import (
    Concat,
    Condition,
    Item,
    Start,
    Unclip,
    Variant,
)
from generator.errors import translate
from generator.gallery import Gallery, Stored, key_of
from generator.sources import Sources
from servicekit.errors import InvalidArgument, ServiceError
from servicekit.storage import ObjectStore, to_key


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
        card: Card,
        sampling: Sampling,
        prefix: str,
        backend: Backend,
        gallery: Gallery,
        store: ObjectStore,
        room: asyncio.Semaphore,
    ) -> None:
        self._card, self._sampling, self._prefix = card, sampling, prefix
        self._signature = backend.signature(deterministic=sampling.deterministic)
        self._gallery, self._backend = gallery, backend
        self._pictures = Sources(store, room, self._fit)
        self._embeddings = Sources(store, room, self._embed)

    async def _fit(self, image: Image.Image) -> Image.Image:
        return await asyncio.to_thread(fit, image, self._card.width, self._card.height)

    async def _embed(self, image: Image.Image) -> FloatArray:
        [row] = await asyncio.wrap_future(self._backend.encode_images(self._card.name, [image]))
        return row

    async def take(self, index: int, wanted: pb.Item) -> Order | Refused:
        """Reads the item's image, checks it, and looks for it in the store."""
        field = f"items[{index}]."
        try:
            condition, sha256 = await self._condition(wanted.image, f"{field}image")
            item = self._item(wanted, condition, field)
            check_item(item, self._card)
            key = key_of(item, self._card, self._signature, sha256, self._prefix)
            found = await asyncio.to_thread(self._gallery.find, key)
        except (ServiceError, DiffusionError) as error:
            return Refused(wanted.item_id, translate(error, field))
        return Order(wanted.item_id, item, key, found)

    def _item(self, wanted: pb.Item, condition: Condition | None, field: str) -> Item:
        sampling = self._sampling
        return Item(
            model=self._card.name,
            seed=wanted.seed,
            steps=sampling.steps,
            guidance_scale=sampling.guidance_scale,
            text=self._text(wanted.text, f"{field}text"),
            negative=self._text(wanted.negative, f"{field}negative"),
            condition=condition,
            deterministic=sampling.deterministic,
            variant=sampling.variant,
        )

    def _text(self, text: pb.TextCondition, field: str) -> Text:
        if text.WhichOneof("condition") == "embedding":
            card = self._card
            name = f"{field}.embedding"
            return tensors.from_pb(text.embedding, name, card.text_encoder, card.name)
        return text.prompt

    async def _condition(
        self, image: pb.ImageCondition, field: str
    ) -> tuple[Condition | None, str]:
        """Returns the condition and the SHA-256 of its image file, empty without one."""
        match image.WhichOneof("condition"):
            case "start":
                read = await self._pictures.read(image.start.image_uri, f"{field}.start.image_uri")
                return Start(read.value, image.start.strength), read.sha256
            case "concat":
                concat = image.concat
                read = await self._pictures.read(concat.image_uri, f"{field}.concat.image_uri")
                scale = concat.image_guidance_scale if concat.image_guidance_scale > 0 else 1.0
                return Concat(read.value, scale), read.sha256
            case "unclip":
                return await self._unclip(image.unclip, f"{field}.unclip")
            case _:
                return None, ""

    async def _unclip(self, unclip: pb.UnclipImage, field: str) -> tuple[Condition, str]:
        card = self._card
        if card.mode != "unclip":
            raise InvalidArgument(
                f"the image condition 'unclip' is for models of mode 'unclip'; model "
                f"{card.name!r} has the mode {card.mode!r}",
                field=field,
                reason="WRONG_MODE",
            )
        if unclip.WhichOneof("source") == "image_uri":
            read = await self._embeddings.read(unclip.image_uri, f"{field}.image_uri")
            return Unclip(read.value, unclip.noise_level), read.sha256
        name = f"{field}.embedding"
        values = tensors.from_pb(unclip.embedding, name, card.image_encoder, card.name)
        return Unclip(values, unclip.noise_level), ""
