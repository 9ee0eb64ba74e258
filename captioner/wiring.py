"""Puts the captioner together: settings and store in, service out."""

import asyncio

import grpc
from variegate.captioner.v1 import captioner_pb2, captioner_pb2_grpc

from captioner.blip import BlipCaptioner
from captioner.captions import Caption, CaptionTask
from captioner.service import CaptionerService
from captioner.settings import CaptionerSettings
from servicekit.batching import MicroBatcher
from servicekit.server import Service
from servicekit.storage import ObjectStore
from servicekit.workload import Workload


def create_service(settings: CaptionerSettings, store: ObjectStore) -> Service:
    """Returns the service; BLIP-2 is loaded by `load`, in a thread."""
    service = CaptionerService(
        store, max_tokens=settings.max_tokens, stream_window=settings.stream_window
    )
    batchers: list[MicroBatcher[CaptionTask, Caption]] = []

    def register(server: grpc.aio.Server) -> None:
        captioner_pb2_grpc.add_CaptionerServiceServicer_to_server(service, server)

    async def load() -> None:
        captioner = await asyncio.to_thread(_load_captioner, settings)
        batcher: MicroBatcher[CaptionTask, Caption] = MicroBatcher(
            captioner.caption,
            max_batch=settings.max_batch,
            max_wait_seconds=settings.max_wait_ms / 1000,
            max_queue=settings.max_queue,
            name="captioner",
        )
        batchers.append(batcher)
        engine = f"{captioner.device}/{captioner.dtype}/{settings.max_tokens} tokens"
        service.attach(batcher, captioner.id, engine)

    async def close() -> None:
        for batcher in batchers:
            await batcher.close()

    def workload() -> Workload | None:
        return batchers[0].workload() if batchers else None

    name = captioner_pb2.DESCRIPTOR.services_by_name["CaptionerService"].full_name
    return Service("captioner", (name,), register, load, close, workload=workload)


def _load_captioner(settings: CaptionerSettings) -> BlipCaptioner:
    return BlipCaptioner(
        settings.model,
        name=settings.name,
        revision=settings.revision,
        device=settings.device,
    )
