"""The five services as small deterministic gRPC servers, for tests of the gateway alone.

They speak the real protos over real channels. Images are 16 x 16 noise drawn from the item's seed;
what a test wants to go wrong is said in `Trouble`.
"""

import asyncio
import hashlib
from dataclasses import dataclass, field

import grpc
import numpy as np
from variegate.captioner.v1 import captioner_pb2, captioner_pb2_grpc
from variegate.generator.v1 import generator_pb2, generator_pb2_grpc
from variegate.prompter.v1 import prompter_pb2, prompter_pb2_grpc
from variegate.retriever.v1 import retriever_pb2_grpc
from variegate.trainer.v1 import trainer_pb2_grpc

from imaging.encode import encode_png
from servicekit.errors import (
    Exhausted,
    Internal,
    InvalidArgument,
    Precondition,
)
from servicekit.statuses import to_status
from servicekit.storage import to_uri
from tests.gateway.double_retriever import Retriever
from tests.gateway.double_trainer import Trainer

SHAPE, DIMENSION = (6, 4), 8
LEMMAS = {"n02086240": ("Shih-Tzu",)}


@dataclass
class Trouble:
    """What goes wrong, and what was asked for."""

    busy_calls: int = 0  # The first calls of GenerateImages answer RESOURCE_EXHAUSTED.
    bad_seeds: set[int] = field(default_factory=set)  # These items fail for good.
    unsafe_share: float = 0.0  # This share of images is rejected.
    model: str = ""  # Another one is another set of diffusion models.
    engine: str = "float32"
    device: str = "cpu"  # Of CLIP and the trainer.
    unknown: str = ""  # Nobody knows what prompts of this class should say.
    same_pixels: bool = False  # Every image is the same picture.
    pause: float = 0.0  # Seconds that a call of GenerateImages takes.
    gate: asyncio.Event | None = None  # Calls of GenerateImages after `free_calls` wait for it.
    free_calls: int = 0
    waiting: int = 0
    capacity: int = 0  # Images that the generator says it works on at once.
    calls: list[list[str]] = field(default_factory=list)  # Item ids of each generate call.
    made: int = 0
    captioned: int = 0
    refuses_captions: bool = False  # So no method that needs captions can be made.
    failed_prompts: int = 0  # So many prompts of every call cannot be written.
    senses: tuple[str, ...] = ("first", "real")  # "real" is what the images show.
    prompts_alike: bool = False  # All texts have the same embedding.
    looked: list[str] = field(default_factory=list)  # Images that CLIP embedded.
    model_size: int = 16  # Pixels of the models' images.
    clip_knows: str = ""  # Real images of this class are what its text says; none of the others.
    token_limit: int = 77  # Of the text encoders; a word is a token.
    candidates: list[tuple[str, bool]] = field(default_factory=list)
    texts: list[object] = field(default_factory=list)  # The candidates as they were asked for.
    diverging: set[str] = field(default_factory=set)  # Of these classes nothing can be learned.
    tunings: dict[str, object] = field(default_factory=dict)  # What was asked for, by its id.


class Captioner(captioner_pb2_grpc.CaptionerServiceServicer):
    def __init__(self, store, trouble):
        self.trouble = trouble

    async def CaptionImage(self, request, context):
        self.trouble.captioned += 1
        number = int(hashlib.sha256(request.image_uri.encode()).hexdigest()[:2], 16) % 7
        text = f"{request.prefix} with {number} corners"
        caption = captioner_pb2.Caption(text=text, mean_log_prob=-1, model="double-captioner")
        return captioner_pb2.CaptionImageResponse(caption=caption)

    async def GetModel(self, request, context):
        return captioner_pb2.Model(id="double-captioner", engine=self.trouble.engine)

    async def StreamCaptions(self, requests, context):
        if self.trouble.refuses_captions:
            raise Precondition("there is no captioner", subject="captioner")
        async for one in requests:
            answer = await self.CaptionImage(one.request, context)
            yield captioner_pb2.StreamCaptionsResponse(item_id=one.item_id, caption=answer.caption)


class Prompter(prompter_pb2_grpc.PrompterServiceServicer):
    def __init__(self, store, trouble):
        self.trouble = trouble
        self.requests = []
        self.names = {}  # Of classes, by digest.
        self.received = 0  # Bytes.

    async def WritePrompts(self, request, context):
        self._check_names(request)
        if not request.class_name.strip("_"):
            raise InvalidArgument(
                "class_name is blank", field="class_name", reason="CLASS_NAME_BLANK"
            )
        self.requests.append(request)
        called = request.display_name or request.class_name
        asked = {(one.seed, one.class_name) for one in self.requests[:-1]}
        first = "again, " if (request.seed, request.class_name) in asked else ""
        for index in range(request.prompt_count):
            prompt = f"{first}{request.strategy} {index}: a photo of a {called}"
            answer = prompter_pb2.WritePromptsResponse(index=index, prompt=prompt)
            answer.fallback = request.class_name == self.trouble.unknown
            if "stylized" in request.strategy:
                answer.style, answer.model = f"style {index}", "double-llm"
            if index < self.trouble.failed_prompts:
                error = to_status(Internal("no prompt", reason="PROMPT_UNUSABLE"), "prompter")
                answer = prompter_pb2.WritePromptsResponse(index=index, error=error)
            yield answer

    async def RegisterClassNames(self, request, context):
        self.received += request.ByteSize()
        digest = hashlib.sha256("\n".join(request.class_names).encode()).hexdigest()
        self.names[digest] = list(request.class_names)
        return prompter_pb2.RegisterClassNamesResponse(digest=digest)

    def _check_names(self, request):
        self.received += request.ByteSize()
        if (digest := request.class_names_digest) and digest not in self.names:
            raise Precondition("forgotten", subject=digest, reason="CLASS_NAMES_UNKNOWN")

    async def GetLanguageModel(self, request, context):
        return prompter_pb2.LanguageModel(id="double-llm")

    async def DescribeSenses(self, request, context):
        self._check_names(request)
        name = request.class_name
        if lemmas := LEMMAS.get(name):
            known = [prompter_pb2.Sense(name="id.n.01", lemmas=lemmas, text=lemmas[0])]
            return prompter_pb2.DescribeSensesResponse(senses=known)
        senses = [
            prompter_pb2.Sense(
                name=f"{name}.n.0{number}", definition=f"{kind} thing", text=f"{kind} {name}"
            )
            for number, kind in enumerate(self.trouble.senses, 1)
        ]
        return prompter_pb2.DescribeSensesResponse(senses=senses)


class Generator(generator_pb2_grpc.GeneratorServiceServicer):
    def __init__(self, store, trouble):
        self.store, self.trouble = store, trouble

    async def ListModels(self, request, context):
        models = [
            generator_pb2.Model(
                name=name,
                mode=name,
                digest=hashlib.sha256(f"{name}{self.trouble.model}".encode()).hexdigest(),
                text_encoder="double-text",
                text_shape=SHAPE,
                image_encoder="double-image" if name == "unclip" else "",
                image_dimension=DIMENSION if name == "unclip" else 0,
                default_steps=3,
                width=self.trouble.model_size,
                height=self.trouble.model_size,
                default_guidance_scale=2.0,
            )
            for name in ("pix2pix", "text", "unclip")
        ]
        return generator_pb2.ListModelsResponse(
            models=models, engine=self.trouble.engine, capacity=self.trouble.capacity
        )

    async def CountTokens(self, request, context):
        counts = [len(text.split()) + 2 for text in request.texts]
        return generator_pb2.CountTokensResponse(
            token_counts=counts, token_limit=self.trouble.token_limit
        )

    def _tensor(self, text, shape, encoder):
        seed = int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)
        values = np.random.default_rng(seed).standard_normal(shape).astype("<f4")
        return generator_pb2.Tensor(
            data=values.tobytes(), shape=shape, data_type=2, encoder=encoder
        )

    async def EncodePrompts(self, request, context):
        tensors = [self._tensor(text, SHAPE, "double-text") for text in request.prompts]
        return generator_pb2.EncodePromptsResponse(embeddings=tensors)

    async def EncodeImages(self, request, context):
        tensors = [self._tensor(u, (DIMENSION,), "double-image") for u in request.image_uris]
        return generator_pb2.EncodeImagesResponse(embeddings=tensors)

    async def GenerateImages(self, request, context):
        trouble = self.trouble
        if trouble.busy_calls:
            trouble.busy_calls -= 1
            raise Exhausted("the queue is full", retry_after=0.01)
        trouble.calls.append([item.item_id for item in request.items])
        await self._wait()
        for item in request.items:
            if item.seed in trouble.bad_seeds or -1 in trouble.bad_seeds:
                status = to_status(Internal("the image came out black"), "generator")
                yield generator_pb2.GenerateImagesResponse(item_id=item.item_id, error=status)
                continue
            image = self._store_image(request, item)
            yield generator_pb2.GenerateImagesResponse(item_id=item.item_id, image=image)

    async def _wait(self):
        trouble = self.trouble
        is_free = len(trouble.calls) <= trouble.free_calls  # By its place among those that came.
        await asyncio.sleep(trouble.pause)
        if trouble.gate and not is_free:
            trouble.waiting += 1
            try:
                await trouble.gate.wait()
            finally:
                trouble.waiting -= 1

    def _digest(self, request):
        """As the real one does: a model that artefacts change has a digest of its own."""
        own = hashlib.sha256(f"{request.model}{self.trouble.model}".encode()).hexdigest()
        changes = sorted(one.sha256 for one in request.artefacts)
        return hashlib.sha256(" ".join([own, *changes]).encode()).hexdigest() if changes else own

    def _store_image(self, request, item):
        content = item.SerializeToString(deterministic=True).replace(item.item_id.encode(), b"")
        made_by = f"{request.model}{self.trouble.model}".encode()
        key = hashlib.sha256(made_by + content).hexdigest()
        seed = 1 if self.trouble.same_pixels else int(key[:12], 16)
        pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        data = encode_png(pixels)
        place = f"generated/{key[:2]}/{key}.png"
        fresh = self.store.put(place, data)
        self.trouble.made += fresh
        return generator_pb2.StoredImage(
            uri=to_uri(place),
            sha256=hashlib.sha256(data).hexdigest(),
            width=16,
            height=16,
            model_digest=self._digest(request),
            cached=not fresh,
            steps=request.sampling.steps or 3,
            guidance_scale=(
                request.sampling.guidance_scale
                if request.sampling.HasField("guidance_scale")
                else 2.0
            ),
        )


def add_to(server: grpc.aio.Server, store, trouble) -> dict[str, object]:
    """Adds all five to one server, and returns them by name."""
    doubles = {
        "captioner": Captioner(store, trouble),
        "prompter": Prompter(store, trouble),
        "generator": Generator(store, trouble),
        "retriever": Retriever(store, trouble),
        "trainer": Trainer(store, trouble),
    }
    captioner_pb2_grpc.add_CaptionerServiceServicer_to_server(doubles["captioner"], server)
    prompter_pb2_grpc.add_PrompterServiceServicer_to_server(doubles["prompter"], server)
    generator_pb2_grpc.add_GeneratorServiceServicer_to_server(doubles["generator"], server)
    retriever_pb2_grpc.add_RetrieverServiceServicer_to_server(doubles["retriever"], server)
    trainer_pb2_grpc.add_TrainerServiceServicer_to_server(doubles["trainer"], server)
    return doubles
