"""The generator: models, encoders, and images by the dozen in full calls."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from variegate.generator.v1 import generator_pb2 as pb
from variegate.generator.v1 import generator_pb2_grpc as rpc

from gateway.clients.answers import Answers, ask_for_all
from gateway.clients.channel import LazyChannel
from gateway.clients.image_conditions import ImageCondition, set_condition
from gateway.clients.patience import Patience, patiently
from gateway.clients.replicas import Replicas
from gateway.clients.tensors import Array, to_array
from gateway.clients.text_conditions import set_text, to_message
from gateway.methods.artefacts import Artefact
from gateway.methods.base import MixedText
from gateway.plan import GeneratorModel
from gateway.settings import GatewaySettings
from servicekit.errors import ServiceError
from servicekit.statuses import from_status
from servicekit.tls.certificates import Certificates
from servicekit.together import together

ITEMS_PER_CALL = 64
BYTES_PER_CALL = 3 * 1024 * 1024
IMAGES_PER_CALL, TEXTS_PER_CALL = 64, 512
_LONGEST_TEXT = 4096


@dataclass(frozen=True)
class ImageRequest:
    """One image to make. `text` is a prompt, a mix of captions or, None, the null text.

    `artefacts` change the model for it, or are of its text.
    """

    item_id: str
    seed: int
    text: str | MixedText | None
    image: ImageCondition | None
    artefacts: tuple[Artefact, ...] = ()

    @property
    def of_model(self) -> tuple[Artefact, ...]:
        """The artefacts that change the model, sorted: equal ones can share a call."""
        return tuple(sorted(one for one in self.artefacts if not one.kind.is_of_text))


@dataclass(frozen=True)
class Sampling:
    """What holds for all images. `steps` 0 and `guidance_scale` None are the model's defaults.

    Without a `negative_prompt` guidance leads away from the null text.
    """

    steps: int = 0
    guidance_scale: float | None = None
    deterministic: bool = False
    negative_prompt: str = ""

    def request(
        self, model: str, items: Sequence[pb.Item], artefacts: Sequence[Artefact]
    ) -> pb.GenerateImagesRequest:
        """Returns the call that makes some items, with artefacts that change the model."""
        request = pb.GenerateImagesRequest(model=model, items=items)
        request.artefacts.extend(map(to_message, artefacts))
        request.sampling.steps = self.steps
        request.sampling.deterministic = self.deterministic
        if self.guidance_scale is not None:
            request.sampling.guidance_scale = self.guidance_scale
        return request


@dataclass(frozen=True)
class MadeImage:
    """An image in the object store."""

    image_uri: str
    sha256: str
    model_digest: str
    steps: int
    guidance_scale: float
    is_cached: bool = False


@dataclass(frozen=True)
class Served:
    """The models by name, why others cannot be used, and what decides over an image's bits."""

    models: Mapping[str, GeneratorModel]
    refused: Mapping[str, str]
    engine: str
    deterministic_engine: str


class Generator:
    """Calls of the generator. Images are asked for as fast as its replicas make them."""

    def __init__(self, settings: GatewaySettings, certificates: Certificates | None) -> None:
        service = pb.DESCRIPTOR.services_by_name["GeneratorService"]
        self._channel = LazyChannel(settings.generator, certificates, service)
        self._settings = settings
        self.replicas = Replicas(
            settings.generator, service, rpc.GeneratorServiceStub, self._capacity, certificates
        )

    @cached_property
    def _stub(self) -> rpc.GeneratorServiceStub:
        return rpc.GeneratorServiceStub(self._channel.open())

    async def served(self) -> Served:
        """Returns the models and how they are run."""
        request, timeout = pb.ListModelsRequest(), self._settings.call_seconds
        answer = await patiently(
            lambda: self._stub.ListModels(request, timeout=timeout),
            self._settings.patience_seconds,
            "generator",
        )
        return Served(
            models={model.name: _model_info(model, answer.engine) for model in answer.models},
            refused={model.name: model.message for model in answer.refused_models},
            engine=answer.engine,
            deterministic_engine=answer.deterministic_engine,
        )

    async def count_tokens(
        self, model: str, texts: Sequence[str], words: Sequence[Artefact] = ()
    ) -> tuple[list[int], int]:
        """Returns the tokens of each text, in order, and how many the text encoder reads.

        `words` are artefacts of the kind TOKENS whose words may stand in the texts.
        """
        known = [to_message(one) for one in words]
        counts: list[int] = []
        limit = 0
        for first in range(0, len(texts), TEXTS_PER_CALL):
            part = [text[:_LONGEST_TEXT] for text in texts[first : first + TEXTS_PER_CALL]]
            answer = await self._count(
                pb.CountTokensRequest(model=model, texts=part, artefacts=known)
            )
            counts += answer.token_counts
            limit = answer.token_limit
        return counts, limit

    async def _count(self, request: pb.CountTokensRequest) -> pb.CountTokensResponse:
        timeout = self._settings.call_seconds
        return await patiently(
            lambda: self._stub.CountTokens(request, timeout=timeout),
            self._settings.patience_seconds,
            "generator",
        )

    async def encode_images(self, model: str, image_uris: Sequence[str]) -> Array:
        """Returns [n, d], one vector per image, at most IMAGES_PER_CALL of them."""
        request = pb.EncodeImagesRequest(model=model, image_uris=image_uris)
        timeout = self._settings.call_seconds
        answer = await patiently(
            lambda: self._stub.EncodeImages(request, timeout=timeout),
            self._settings.patience_seconds,
            "generator",
        )
        return np.stack([to_array(tensor) for tensor in answer.embeddings])

    async def generate(
        self,
        model: GeneratorModel,
        requests: Sequence[ImageRequest],
        sampling: Sampling,
        job: str = "",
        started: Callable[[], None] = lambda: None,
    ) -> dict[str, MadeImage | ServiceError]:
        """Makes images and returns them by item id; one that cannot be made is its error.

        Items of one changed model are packed into calls of at most BYTES_PER_CALL bytes and as many
        items as a replica works on at once. Each call goes to the replica with the most room; what
        passes is tried again, there or at another. Jobs share the room. `started` is called when
        all calls are under way. Raises ServiceError if the generator stays away, or refuses a call.
        """
        of_models: dict[tuple[Artefact, ...], list[pb.Item]] = {}
        for wanted in requests:
            of_models.setdefault(wanted.of_model, []).append(_item(wanted, model, sampling))
        most = await self.replicas.largest_call(ITEMS_PER_CALL, self._patience())
        packs = [
            (artefacts, pack)
            for artefacts, items in of_models.items()
            for pack in pack_items(items, most)
        ]
        waiting = len(packs)

        def count() -> None:
            nonlocal waiting
            waiting -= 1
            if not waiting:
                started()

        calls = (
            self._call(partial(sampling.request, model.name, artefacts=artefacts), pack, job, count)
            for artefacts, pack in packs
        )
        answers = await together(calls)
        return {key: made for answer in answers for key, made in answer.items()}

    async def _call(
        self,
        request_of: Callable[[Sequence[pb.Item]], pb.GenerateImagesRequest],
        items: Sequence[pb.Item],
        job: str,
        started: Callable[[], None],
    ) -> dict[str, MadeImage | ServiceError]:
        by_id = {item.item_id: item for item in items}

        async def ask(stub: rpc.GeneratorServiceStub, missing: Sequence[str]) -> Answers[MadeImage]:
            request = request_of([by_id[item_id] for item_id in missing])
            timeout = self._settings.call_seconds
            async for answer in stub.GenerateImages(request, timeout=timeout):
                yield answer.item_id, _answer(answer)

        return await ask_for_all(
            self.replicas, list(by_id), ask, self._patience(), job=job, started=started
        )

    def _patience(self) -> Patience:
        return Patience(self._settings.patience_seconds, "generator")

    async def _capacity(self, stub: rpc.GeneratorServiceStub) -> int:
        timeout = self._settings.call_seconds
        answer = await stub.ListModels(pb.ListModelsRequest(), timeout=timeout)
        return answer.capacity or ITEMS_PER_CALL

    async def close(self) -> None:
        await self.replicas.close()
        await self._channel.close()


def pack_items(items: Sequence[pb.Item], most: int = ITEMS_PER_CALL) -> list[list[pb.Item]]:
    """Splits items into calls of at most `most` that are as full as the limits allow, in order."""
    packs: list[list[pb.Item]] = []
    room = 0
    for item in items:
        size = item.ByteSize() + 8  # Tag and length in the request.
        if not packs or len(packs[-1]) == most or size > room:
            packs.append([])
            room = BYTES_PER_CALL
        packs[-1].append(item)
        room -= size
    return packs


def _item(wanted: ImageRequest, model: GeneratorModel, sampling: Sampling) -> pb.Item:
    item = pb.Item(item_id=wanted.item_id, seed=wanted.seed)
    of_text = [one for one in wanted.artefacts if one.kind.is_of_text]
    if wanted.text is not None or of_text:
        set_text(item.text, wanted.text, of_text)
    if sampling.negative_prompt:
        item.negative.prompt = sampling.negative_prompt
    if wanted.image is not None:
        set_condition(item.image, wanted.image, model, wanted.artefacts)
    return item


def _answer(answer: pb.GenerateImagesResponse) -> MadeImage | ServiceError:
    if not answer.HasField("image"):
        return from_status(answer.error)
    image = answer.image
    return MadeImage(
        image_uri=image.uri,
        sha256=image.sha256,
        model_digest=image.model_digest,
        steps=image.steps,
        guidance_scale=image.guidance_scale,
        is_cached=image.cached,
    )


def _model_info(model: pb.Model, engine: str) -> GeneratorModel:
    rows, columns = model.text_shape if len(model.text_shape) == 2 else (0, 0)
    return GeneratorModel(
        name=model.name,
        mode=model.mode,
        digest=model.digest,
        text_encoder=model.text_encoder,
        text_shape=(rows, columns),
        image_encoder=model.image_encoder,
        image_dimension=model.image_dimension,
        default_steps=model.default_steps,
        default_guidance_scale=model.default_guidance_scale,
        image_conditions=tuple(model.image_conditions),
        width=model.width,
        height=model.height,
        engine=engine,
    )
