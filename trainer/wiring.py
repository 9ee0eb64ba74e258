"""Puts the trainer together: settings and store in, service out."""

import asyncio

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from variegate.trainer.v1 import trainer_pb2, trainer_pb2_grpc

from servicekit.devices import find_device
from servicekit.operations import OperationRunner, OperationsServicer
from servicekit.places import need_writable
from servicekit.server import Service
from servicekit.storage import ObjectStore
from trainer.service import TrainerService
from trainer.settings import TrainerSettings
from trainer.trainer import Trainer


def create_service(settings: TrainerSettings, store: ObjectStore) -> Service:
    """Returns the service; it is ready at once, workers start with the first run."""
    trainer = Trainer(settings, store)
    runner = OperationRunner(store, "trainer")

    def register(server: grpc.aio.Server) -> None:
        service = TrainerService(trainer, runner)
        trainer_pb2_grpc.add_TrainerServiceServicer_to_server(service, server)
        operations_pb2_grpc.add_OperationsServicer_to_server(OperationsServicer(runner), server)

    async def load() -> None:
        need_writable(settings.scratch, "TRAINER_SCRATCH")
        if settings.device not in ("auto", "cpu"):  # torch is not imported here for nothing
            await asyncio.to_thread(find_device, settings.device, "TRAINER_DEVICE")

    async def close() -> None:
        await runner.close()
        await trainer.close()

    names = (
        trainer_pb2.DESCRIPTOR.services_by_name["TrainerService"].full_name,
        operations_pb2.DESCRIPTOR.services_by_name["Operations"].full_name,
    )
    return Service("trainer", names, register, load, close)
