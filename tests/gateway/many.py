"""Five services in a process of their own that answer at once and keep nothing, for large runs.

Usage: python -m tests.gateway.many. Prints the address, and ends with its input.
"""

import asyncio
import hashlib
import sys

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from variegate.captioner.v1 import captioner_pb2, captioner_pb2_grpc
from variegate.generator.v1 import generator_pb2, generator_pb2_grpc
from variegate.prompter.v1 import prompter_pb2_grpc
from variegate.retriever.v1 import retriever_pb2, retriever_pb2_grpc
from variegate.trainer.v1 import trainer_pb2_grpc

from servicekit.storage import MemoryStore
from tests.gateway import doubles


class Captioner(doubles.Captioner):
    """Says something else of every image."""

    async def CaptionImage(self, request, context):
        number = hashlib.sha256(request.image_uri.encode()).hexdigest()[:12]
        caption = captioner_pb2.Caption(
            text=f"{request.prefix} with the number {number}", mean_log_prob=-1, model="many"
        )
        return captioner_pb2.CaptionImageResponse(caption=caption)


class Generator(doubles.Generator):
    async def GenerateImages(self, request, context):
        digest = hashlib.sha256(request.model.encode()).hexdigest()
        for item in request.items:
            key = hashlib.sha256(f"{item.seed}".encode()).hexdigest()
            image = generator_pb2.StoredImage(
                uri=f"store:generated/{key[:2]}/{key}.png",
                sha256=key,
                width=16,
                height=16,
                model_digest=digest,
                steps=3,
                guidance_scale=2.0,
            )
            yield generator_pb2.GenerateImagesResponse(item_id=item.item_id, image=image)


POOL = 300_000
# What a class wants of the images that the next one wants.
_SHARED = 0.02


class Retriever(doubles.Retriever):
    async def CreateIndex(self, request, context):
        index = retriever_pb2.Index(
            name=f"indexes/{request.index_id}", digest="d1", encoder=self.encoder, image_count=POOL
        )
        operation = operations_pb2.Operation(name="operations/index", done=True)
        operation.response.Pack(index)
        return operation

    async def SearchImages(self, request, context):
        """Answers with images of a pool that is nowhere; neighbouring classes share some."""
        number = int(request.queries[0].text.rpartition("class")[2])
        first = number * round(request.hit_count * (1 - _SHARED))
        answer = retriever_pb2.HitList()
        for rank in range(request.hit_count):
            key = hashlib.sha256(f"pool {(first + rank) % POOL}".encode()).hexdigest()
            answer.hits.add(
                image_uri=f"store:pool/{key[:2]}/{key}.jpg",
                sha256=key,
                similarity=0.5 - rank / POOL,
                caption=f"a photo with {rank} corners",
            )
        return retriever_pb2.SearchImagesResponse(results=[answer])

    async def ScreenImages(self, request, context):
        answer = retriever_pb2.ScreenImagesResponse()
        for candidate in request.candidates:
            key = hashlib.sha256(candidate.image_uri.encode()).hexdigest()
            unsafe = key.startswith("000")
            answer.verdicts.add(
                accepted=not unsafe,
                reasons=["UNSAFE"] if unsafe else [],
                unsafe_score=-1,
                clip_score=0.5,
                pixel_sha256=key,
                perceptual_hash=int(key[:16], 16),
            )
        return answer


async def main():
    server, store, trouble = grpc.aio.server(), MemoryStore(), doubles.Trouble()
    trainer, retriever = doubles.Trainer(store, trouble), Retriever(store, trouble)
    captioner_pb2_grpc.add_CaptionerServiceServicer_to_server(Captioner(store, trouble), server)
    prompter_pb2_grpc.add_PrompterServiceServicer_to_server(
        doubles.Prompter(store, trouble), server
    )
    generator_pb2_grpc.add_GeneratorServiceServicer_to_server(Generator(store, trouble), server)
    retriever_pb2_grpc.add_RetrieverServiceServicer_to_server(retriever, server)
    trainer_pb2_grpc.add_TrainerServiceServicer_to_server(trainer, server)
    operations_pb2_grpc.add_OperationsServicer_to_server(trainer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(0)


if __name__ == "__main__":
    asyncio.run(main())
