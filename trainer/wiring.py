"""Puts the trainer together: settings and store in, service out."""

import os

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from variegate.trainer.v1 import trainer_pb2, trainer_pb2_grpc

from servicekit.operations import OperationRunner, OperationsServicer
from servicekit.server import Service
from servicekit.storage import ObjectStore
from trainer.launchers.base import Launcher
from trainer.launchers.subprocesses import SubprocessLauncher
from trainer.service import TrainerService
from trainer.settings import TrainerSettings
from trainer.trainer import Trainer


def create_service(settings: TrainerSettings, store: ObjectStore) -> Service:
    """Returns the service; it is ready at once, workers start with the first run."""
    trainer = Trainer(settings, store, open_launcher(settings, store))
    runner = OperationRunner(store, "trainer")

    service = TrainerService(trainer, runner)

    def register(server: grpc.aio.Server) -> None:
        trainer_pb2_grpc.add_TrainerServiceServicer_to_server(service, server)
        operations_pb2_grpc.add_OperationsServicer_to_server(OperationsServicer(runner), server)

    async def load() -> None:
        await trainer.load()
        await service.go_on()

    async def close() -> None:
        trainer.leave()
        await runner.close()
        await trainer.close()

    names = (
        trainer_pb2.DESCRIPTOR.services_by_name["TrainerService"].full_name,
        operations_pb2.DESCRIPTOR.services_by_name["Operations"].full_name,
    )
    return Service("trainer", names, register, load, close)


def open_launcher(settings: TrainerSettings, store: ObjectStore) -> Launcher:
    """Returns the launcher that the settings name. Raises SettingsError where it cannot work."""
    if settings.launcher == "subprocess":
        return SubprocessLauncher(settings, store)
    # Only who is in a cluster has a client for it.
    from trainer.launchers.kubernetes.api import Access, KubernetesApi
    from trainer.launchers.kubernetes.launcher import KubernetesLauncher

    return KubernetesLauncher(settings, store, KubernetesApi(Access.of_pod(os.environ)))
