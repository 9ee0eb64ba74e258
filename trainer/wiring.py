"""Puts the trainer together: settings and store in, service out."""

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from variegate.trainer.v1 import trainer_pb2, trainer_pb2_grpc

from servicekit.operations import OperationRunner, OperationsServicer
from servicekit.server import Service
from servicekit.storage import ObjectStore
from trainer.launchers.subprocesses import SubprocessLauncher
from trainer.service import TrainerService
from trainer.settings import TrainerSettings
from trainer.trainer import Trainer


def create_service(settings: TrainerSettings, store: ObjectStore) -> Service:
    """Returns the service; it is ready at once, workers start with the first run."""
    trainer = Trainer(settings, store, SubprocessLauncher(settings, store))
    runner = OperationRunner(store, "trainer")

    def register(server: grpc.aio.Server) -> None:
        service = TrainerService(trainer, runner)
        trainer_pb2_grpc.add_TrainerServiceServicer_to_server(service, server)
        operations_pb2_grpc.add_OperationsServicer_to_server(OperationsServicer(runner), server)

    async def close() -> None:
        trainer.leave()
        await runner.close()
        await trainer.close()

    names = (
        trainer_pb2.DESCRIPTOR.services_by_name["TrainerService"].full_name,
        operations_pb2.DESCRIPTOR.services_by_name["Operations"].full_name,
    )
    return Service("trainer", names, register, trainer.load, close)
