"""The generator's gRPC service: messages in, messages out."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import grpc
import numpy as np
from PIL import Image
from prometheus_client import Counter
from variegate.generator.v1 import generator_pb2 as pb
from variegate.generator.v1 import generator_pb2_grpc as rpc

from diffusion.card import ModelCard
from diffusion.embeddings import FloatArray
from diffusion.families.base import POOLED_TEXT, TEXT
from diffusion.fixed_shapes import ENCODER_ROWS
from generator import tensors
from generator.artefacts import TextArtefacts
from generator.backend import Backend
from generator.engine.checks import no_image_encoder
from generator.engine.conditions.registry import names_of
from generator.engine.items import Made, weights_digest
from generator.errors import translate, translated
from generator.gallery import Gallery, Stored
from generator.reader import CallReader
from generator.requested_items import ItemReader, Refused, RequestedItem, Sampling, sampling_of
from generator.sources import AT_ONCE, read_group
from generator.texts import words_from_pb
from generator.tokenizers import Tokenizers
from servicekit.errors import InvalidArgument, Precondition, Unavailable
from servicekit.limits import MESSAGE_BYTES
from servicekit.statuses import to_status
from servicekit.storage import ObjectStore, to_key, to_uri
from servicekit.together import together

_NAME = "generator"
_DEFAULT_OUTPUT = "store:generated"
# A margin is left for the rest of the message.
_MOST_REASON = 2048
_MOST_BYTES = MESSAGE_BYTES - 65536


@dataclass(frozen=True)
class _Call:
    """What the answers of one call share."""

    card: ModelCard
    sampling: Sampling


class GeneratorService(rpc.GeneratorServiceServicer):
    """Serves images. `backend` is set once the models are loaded.

    Up to `artefact_bytes` of artefacts of texts are kept in memory.
    """

    def __init__(self, store: ObjectStore, artefact_bytes: int) -> None:
        self.backend: Backend | None = None
        self._store = store
        self._gallery = Gallery(store)
        self.images = Counter(
            "variegate_generator_images",
            "Images that were answered: made anew, or stored before.",
            ["origin"],
            registry=None,
        )
        self._room = asyncio.Semaphore(AT_ONCE)
        self._tokenizers = Tokenizers()
        self._artefacts = TextArtefacts(store, self._tokenizers, artefact_bytes)

    async def EncodePrompts(
        self, request: pb.EncodePromptsRequest, context: grpc.aio.ServicerContext
    ) -> pb.EncodePromptsResponse:
        backend = self._loaded()
        with translated():
            card = backend.card(request.model)
            _refuse_too_many(len(request.prompts), card)
            future = backend.encode_prompts(card.name, list(request.prompts))
        rows = await asyncio.wrap_future(future)
        return pb.EncodePromptsResponse(
            embeddings=[tensors.to_pb(row[TEXT], card.text_encoder) for row in rows],
            pooled_embeddings=[
                tensors.to_pb(row[POOLED_TEXT], card.text_encoder)
                for row in rows
                if POOLED_TEXT in row
            ],
        )

    async def CountTokens(
        self, request: pb.CountTokensRequest, context: grpc.aio.ServicerContext
    ) -> pb.CountTokensResponse:
        backend = self._loaded()
        with translated():
            card = backend.card(request.model)
            words = await words_from_pb(request.artefacts, "artefacts", card, self._artefacts)
        counts = await asyncio.to_thread(self._tokenizers.count, card, list(request.texts), words)
        return pb.CountTokensResponse(token_counts=counts, token_limit=card.text_shape[0])

    async def EncodeImages(
        self, request: pb.EncodeImagesRequest, context: grpc.aio.ServicerContext
    ) -> pb.EncodeImagesResponse:
        backend = self._loaded()
        with translated():
            card = backend.card(request.model)
        if not card.image_encoder:
            raise Precondition(
                str(no_image_encoder(card)), subject=card.name, reason="NO_IMAGE_ENCODER"
            )
        numbers = {uri: n for n, uri in reversed(list(enumerate(request.image_uris)))}

        async def embed(images: list[Image.Image]) -> list[FloatArray]:
            with translated():
                return await asyncio.wrap_future(backend.encode_images(card.name, images))

        async def group(uris: list[str]) -> dict[str, FloatArray]:
            fields = [f"image_uris[{numbers[uri]}]" for uri in uris]
            found = await read_group(self._store, self._room, uris, fields, embed)
            for row, field in zip(found, fields, strict=True):
                _refuse_not_finite(row, field)
            return dict(zip(uris, found, strict=True))

        rows: dict[str, FloatArray] = {}
        uris = list(numbers)
        # Encoders run in calls of so many rows, and so many images are decoded for each.
        parts = [uris[n : n + ENCODER_ROWS] for n in range(0, len(uris), ENCODER_ROWS)]
        for found in await together(group(part) for part in parts):
            rows |= found
        return pb.EncodeImagesResponse(
            embeddings=[tensors.to_pb(rows[uri], card.image_encoder) for uri in request.image_uris]
        )

    async def ListModels(
        self, request: pb.ListModelsRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListModelsResponse:
        backend = self._loaded()
        cards, refused = backend.registry.cards, backend.registry.refused
        return pb.ListModelsResponse(
            models=[_model(cards[name]) for name in sorted(cards)],
            refused_models=[
                pb.RefusedModel(name=name, message=str(refused[name])[:_MOST_REASON])
                for name in sorted(refused)
            ],
            engine=backend.signature(deterministic=False),
            deterministic_engine=backend.signature(deterministic=True),
            capacity=backend.capacity,
        )

    async def GenerateImages(
        self, request: pb.GenerateImagesRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[pb.GenerateImagesResponse]:
        backend = self._loaded()
        with translated():
            card = backend.card(request.model)
        _refuse_duplicates([item.item_id for item in request.items])
        prefix = to_key(request.output_uri or _DEFAULT_OUTPUT, "output_uri").rstrip("/")
        with translated():
            call = _Call(card, sampling_of(request, card))
        reader = CallReader(card, backend, self._store, self._room, self._artefacts)
        reading = ItemReader(call.sampling, prefix, backend, self._gallery, reader)
        taken = await together(reading.take(n, item) for n, item in enumerate(request.items))
        to_make: list[RequestedItem] = []
        for item in taken:
            if isinstance(item, Refused):
                yield _failure(item.item_id, item.error)
            elif item.found is not None:
                self.images.labels("stored").inc()
                yield _answer(item, call, item.found, None)
            else:
                to_make.append(item)
        async with aclosing(self._make(backend, to_make, call)) as responses:
            async for response in responses:
                yield response

    async def _make(
        self, backend: Backend, items: Sequence[RequestedItem], call: _Call
    ) -> AsyncGenerator[pb.GenerateImagesResponse, None]:
        """Makes items together and answers each when it is stored."""
        with translated():
            futures = backend.submit_all([one.item for one in items])
        finishing = [
            asyncio.create_task(self._finish(item, asyncio.wrap_future(future), call))
            for item, future in zip(items, futures, strict=True)
        ]
        try:
            for done in asyncio.as_completed(finishing):
                yield await done
        finally:
            # The caller may be gone: what waits is not made, what runs leaves at its next step.
            for future, task in zip(futures, finishing, strict=True):
                future.cancel()
                task.cancel()

    async def _finish(
        self, item: RequestedItem, future: "asyncio.Future[Made]", call: _Call
    ) -> pb.GenerateImagesResponse:
        try:
            made = await future
            stored = await asyncio.to_thread(self._gallery.keep, item.key, made.pixels)
        except Exception as error:
            return _failure(item.item_id, error)
        self.images.labels("stored" if stored.is_cached else "made").inc()
        return _answer(item, call, stored, made)

    def _loaded(self) -> Backend:
        if self.backend is None:
            raise Unavailable("the generator is still loading", reason="MODEL_LOADING")
        return self.backend


def _failure(item_id: str, error: Exception) -> pb.GenerateImagesResponse:
    return pb.GenerateImagesResponse(item_id=item_id, error=to_status(translate(error), _NAME))


def _answer(
    item: RequestedItem, call: _Call, stored: Stored, made: Made | None
) -> pb.GenerateImagesResponse:
    image = pb.StoredImage(
        uri=to_uri(stored.key),
        sha256=stored.sha256,
        width=stored.width,
        height=stored.height,
        model_digest=weights_digest(call.card, call.sampling.artefacts),
        cached=stored.is_cached,
        queue_seconds=made.queue_seconds if made else 0.0,
        compute_seconds=made.compute_seconds if made else 0.0,
        steps=call.sampling.steps,
        guidance_scale=call.sampling.guidance_scale,
    )
    return pb.GenerateImagesResponse(item_id=item.item_id, image=image)


def _model(card: ModelCard) -> pb.Model:
    return pb.Model(
        name=card.name,
        mode=card.mode,
        digest=card.digest,
        text_encoder=card.text_encoder,
        text_shape=card.text_shape,
        image_encoder=card.image_encoder,
        image_dimension=card.image_dimension,
        width=card.width,
        height=card.height,
        default_steps=card.default_steps,
        default_guidance_scale=card.default_guidance_scale,
        image_conditions=names_of(card),
        pooled_text_dimension=sum(card.text_shapes.get(POOLED_TEXT, ())),
    )


def _refuse_duplicates(item_ids: Sequence[str]) -> None:
    first: dict[str, int] = {}
    for number, item_id in enumerate(item_ids):
        if item_id in first:
            raise InvalidArgument(
                f"items[{number}] and items[{first[item_id]}] have the same item_id {item_id!r}; "
                "it must be unique within a call",
                field=f"items[{number}].item_id",
                reason="DUPLICATE_ITEM_ID",
            )
        first[item_id] = number


def _refuse_too_many(prompt_count: int, card: ModelCard) -> None:
    tokens, width = card.text_shape
    most = _MOST_BYTES // (tokens * width * 4 + sum(card.text_shapes.get(POOLED_TEXT, ())) * 4)
    if prompt_count > most:
        raise InvalidArgument(
            f"the embeddings of {prompt_count} prompts, {tokens} x {width} each, do not fit into "
            f"one message; ask for at most {most}",
            field="prompts",
            reason="ANSWER_TOO_LARGE",
        )


def _refuse_not_finite(row: FloatArray, field: str) -> None:
    if not bool(np.isfinite(row).all()):
        raise InvalidArgument(
            "the image encoder gives values that are not numbers for this image",
            field=field,
            reason="NOT_FINITE",
        )
