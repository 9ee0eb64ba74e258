"""The trainer, as far as it tunes diffusion models."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from variegate.artefacts.v1 import artefacts_pb2 as artefacts
from variegate.trainer.v1 import trainer_pb2 as pb
from variegate.trainer.v1 import trainer_pb2_grpc as rpc

from gateway.clients.channel import LazyChannel
from gateway.clients.operations import finish
from gateway.clients.patience import patiently
from gateway.clients.trainer import OnSteps
from gateway.methods.artefacts import ArtefactKind, Learned
from gateway.settings import GatewaySettings
from servicekit.tls.certificates import Certificates

_CANCEL_SECONDS = 10.0
_BEST = "validation"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TuningRequest:
    """Something to learn of the images of classes. Meanings as in variegate.trainer.v1.Tuning."""

    manifest_uri: str
    train_item_ids: tuple[str, ...]
    method: str
    model: str
    model_digest: str
    class_names: tuple[str, ...]
    class_texts: tuple[str, ...]
    templates: tuple[str, ...]
    epoch_count: int
    seed: int


@dataclass(frozen=True)
class Tuned:
    """The artefacts with the lowest validation loss, and what there is to say of it."""

    learned: tuple[Learned, ...]
    base_loss: float
    loss: float
    epoch_count: int
    notes: tuple[str, ...]


class Tunings:
    """Calls of the trainer that tune."""

    def __init__(self, settings: GatewaySettings, certificates: Certificates | None) -> None:
        service = pb.DESCRIPTOR.services_by_name["TrainerService"]
        self._channel = LazyChannel(settings.trainer, certificates, service)
        self._settings = settings

    @cached_property
    def _stub(self) -> rpc.TrainerServiceStub:
        return rpc.TrainerServiceStub(self._channel.open())

    @cached_property
    def _operations(self) -> operations_pb2_grpc.OperationsStub:
        return operations_pb2_grpc.OperationsStub(self._channel.open())

    async def code_digest(self) -> str:
        """Returns what stands for code and kind of device: with others other values are learned."""
        answer = await patiently(
            lambda: self._stub.ListRecipes(pb.ListRecipesRequest(), timeout=30),
            self._settings.patience_seconds,
            "trainer",
        )
        return f"{answer.tuning_code_digest} {answer.device}".strip()

    async def tune(self, tuning_id: str, wanted: TuningRequest, on_steps: OnSteps) -> Tuned:
        """Learns, or finds what was learned under this id. Raises ServiceError."""

        def look(operation: operations_pb2.Operation) -> None:
            progress = pb.CreateTuningMetadata()
            if operation.metadata.Unpack(progress):
                on_steps(progress.done_step_count, progress.total_step_count)

        request = pb.CreateTuningRequest(tuning_id=tuning_id, tuning=pb.Tuning(**vars(wanted)))
        done = await finish(
            self._operations,
            lambda: self._stub.CreateTuning(request, timeout=60),
            service="trainer",
            patience_seconds=self._settings.patience_seconds,
            look=look,
        )
        tuning = pb.Tuning()
        done.response.Unpack(tuning)
        result = tuning.result
        return Tuned(
            learned=tuple(_learned(result.artefacts)),
            base_loss=result.base_validation_loss,
            loss=result.validation_loss,
            epoch_count=result.epoch_count,
            notes=tuple(result.notes),
        )

    async def cancel(self, tuning_id: str) -> None:
        """Stops a tuning, if the trainer can be reached and knows it."""
        name = f"operations/trainer-tuning.{tuning_id}"
        request = operations_pb2.CancelOperationRequest(name=name)
        try:
            await self._operations.CancelOperation(request, timeout=_CANCEL_SECONDS)
        except grpc.aio.AioRpcError as error:
            _log.warning("the tuning %s was not cancelled: %s", tuning_id, error.details())

    async def close(self) -> None:
        await self._channel.close()


def _kind(kind: artefacts.ArtefactKind) -> ArtefactKind:
    return ArtefactKind(artefacts.ArtefactKind.Name(kind).removeprefix("ARTEFACT_KIND_"))


def _learned(found: Sequence[pb.TunedArtefact]) -> list[Learned]:
    return [
        Learned(
            uri=one.artefact.uri,
            sha256=one.artefact.sha256,
            kind=_kind(one.artefact.kind),
            word=one.word,
            image_count=one.image_count,
        )
        for one in found
        if one.checkpoint == _BEST
    ]
