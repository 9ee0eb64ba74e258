"""Sends what no client should to a service, many calls at once, and judges the answers."""

import asyncio
import importlib
import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import grpc
from google.longrunning import operations_pb2
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_status import rpc_status

from servicekit.errors import ServiceError
from servicekit.validation import validate
from tests.odd_bytes import noise, spoiled
from tests.odd_messages import OddMessages
from tests.valid_requests import valid_requests

# Calls in flight, and how long one may take.
AT_ONCE, SECONDS = 16, 120.0
# A caller that goes away, as soon as this.
_IMPATIENT = 0.03
# These wait by design, and are left.
_WAITING = ("/Watch", "/WatchMetrics", "/WaitOperation")
# These start work that goes on, or use a model: once so many of a thousand calls were accepted,
# only messages follow that break a rule of the proto.
_STARTING = (
    "ImportDataset",
    "CreateAugmentation",
    "CreateStudy",
    "CreateIndex",
    "CreateTrainingRun",
    "CreateTuning",
)
_WORKING = (
    "CaptionImage",
    "StreamCaptions",
    "WritePrompts",
    "DescribeSenses",
    "EncodePrompts",
    "EncodeImages",
    "GenerateImages",
    "EmbedTexts",
    "EmbedImages",
    "ScreenImages",
    "SearchImages",
    "PlanAugmentation",
    "PlanStudy",
    "PlanTrainingRun",
    "ListTrainingRecipes",
    "ListRecipes",
    "ListModels",
    "ListDatasets",
    "ListAugmentations",
    "ListStudies",
    "ListTrainingRuns",
    "ListTunings",
)
_MOST = {
    **dict.fromkeys(_STARTING, 0.0),
    **dict.fromkeys(_WORKING, 8.0),
}
# What a client tries again, and what is our fault.
_WRONG = {"INTERNAL", "UNKNOWN", "UNAVAILABLE", "DATA_LOSS"}
# How often a message is drawn anew until it is as it is wanted.
_TRIES = 20
_CANCEL = "/google.longrunning.Operations/CancelOperation"


def methods(service: str) -> list[tuple[str, MethodDescriptor]]:
    """Returns what a service serves, by path; its own methods with fields are there four times."""
    own = importlib.import_module(f"variegate.{service}.v1.{service}_pb2").DESCRIPTOR
    files = [own, health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR]
    if service in ("gateway", "retriever", "trainer"):
        files.append(operations_pb2.DESCRIPTOR)
    return [
        (f"/{one.full_name}/{method.name}", method)
        for file in files
        for one in file.services_by_name.values()
        for method in one.methods
        for _ in range(4 if file is own and method.input_type.fields else 1)
    ]


@dataclass(frozen=True)
class Shot:
    """One call: its messages, and after how many seconds the caller goes away."""

    path: str
    method: MethodDescriptor
    parts: Sequence[bytes]
    seconds: float


class Shots:
    """Draws calls of a service; the same seed and number are the same call."""

    def __init__(
        self, service: str, seed: int, known: Mapping[str, Sequence[str]], names: Mapping[str, str]
    ) -> None:
        self._service, self._seed, self._known = service, seed, known
        self._methods = methods(service)
        self._valid: dict[str, list[Message]] = {
            path: valid_requests(method, names) for path, method in self._methods
        }

    def draw(self, number: int, dear: Collection[str] = ()) -> Shot:
        """Returns a call; one to a path of `dear` is refused by the rules of its proto, mostly."""
        chance = random.Random(f"{self._seed} {self._service} {number}")
        path, method = chance.choice(self._methods)
        odd = OddMessages(chance, self._known)
        count = chance.choice((1, 3)) if method.client_streaming else 1
        parts = [self._message(path, method, odd, chance) for _ in range(count)]
        for _ in range(_TRIES if path in dear else 0):
            if _breaks_a_rule(method, parts[0]):
                break
            parts[0] = self._message(path, method, odd, chance)
        leaves = path.endswith(_WAITING) or chance.random() < 0.03
        return Shot(path, method, parts, _IMPATIENT if leaves else SECONDS)

    def _message(
        self, path: str, method: MethodDescriptor, odd: OddMessages, chance: random.Random
    ) -> bytes:
        valid = _named(chance.choice(self._valid[path]), chance)
        match chance.randrange(20):
            case 0:
                return valid.SerializeToString()
            case 1:
                return noise(chance)
            case 2 | 3 | 4:
                return spoiled(valid.SerializeToString(), chance)
            case 5 | 6 | 7:
                oddity = chance.choice((0.0, 0.05, 0.2))
                return odd.make(method.input_type, oddity=oddity).SerializeToString()
            case _:
                return odd.changed(valid).SerializeToString()


@dataclass
class Probe:
    """Sends to one service, and collects what should not have come back."""

    channel: grpc.aio.Channel
    faults: Counter = field(default_factory=Counter)
    examples: dict[tuple[str, ...], str] = field(default_factory=dict)  # Of the faults.
    sent: Counter = field(default_factory=Counter)  # By path and code.

    def codes(self) -> Counter:
        """Returns how many calls were answered with each code."""
        codes: Counter = Counter()
        for (_, code), count in self.sent.items():
            codes[code] += count
        return codes

    async def fire(self, shots: Shots, numbers: range) -> None:
        """Makes the calls of these numbers, AT_ONCE at a time."""
        left = iter(numbers)

        async def work() -> None:
            for number in left:
                shot = shots.draw(number, self._dear(number + 1 - numbers.start))
                await self._send(shot, str(number))

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))

    def _dear(self, calls: int) -> set[str]:
        """Returns the paths that have been worked for enough."""
        return {
            path
            for (path, code), count in self.sent.items()
            if code == "OK" and count > 2 + calls / 1000 * _MOST.get(_name(path), 1000.0)
        }

    async def _send(self, shot: Shot, name: str) -> None:
        kind = ["unary", "stream"]
        shape = f"{kind[shot.method.client_streaming]}_{kind[shot.method.server_streaming]}"
        requests = iter(shot.parts) if shot.method.client_streaming else shot.parts[0]
        call = getattr(self.channel, shape)(shot.path)(requests, timeout=SECONDS)
        answer = None
        try:
            async with asyncio.timeout(shot.seconds):
                if shot.method.server_streaming:
                    async for _ in call:
                        pass
                else:
                    answer = await call
            self.sent[shot.path, "OK"] += 1
        except TimeoutError:
            call.cancel()
            self.sent[shot.path, "left by the caller"] += 1
            if shot.seconds == SECONDS:
                self._blame(name, shot.path, "HANGS")
        except grpc.aio.AioRpcError as error:
            self.sent[shot.path, error.code().name] += 1
            self._judge(name, shot.path, error)
        if (
            answer
            and shot.path.startswith("/variegate.")
            and shot.method.output_type.name == "Operation"
        ):
            await self._stop(operations_pb2.Operation.FromString(answer).name, name)

    async def _stop(self, operation: str, name: str) -> None:
        """Ends work that was started."""
        request = operations_pb2.CancelOperationRequest(name=operation).SerializeToString()
        method = operations_pb2.DESCRIPTOR.services_by_name["Operations"].methods_by_name[
            "CancelOperation"
        ]
        await self._send(Shot(_CANCEL, method, [request], SECONDS), f"{name}, cancelled")

    def _judge(self, name: str, path: str, error: grpc.aio.AioRpcError) -> None:
        code, said = error.code().name, error.details() or ""
        if "Received message larger than max" in said:
            return  # Of gRPC itself, before any service sees it.
        status = rpc_status.from_call(error)
        details = status.details if status else ()
        kinds = {one.TypeName().rpartition(".")[2] for one in details}
        if code in _WRONG or (code == "RESOURCE_EXHAUSTED" and "RetryInfo" not in kinds):
            self._blame(name, path, code, said)
        if code == "DEADLINE_EXCEEDED" and status is None:
            self._blame(name, path, "HANGS")
        elif "ErrorInfo" not in kinds:
            self._blame(name, path, code, "no ErrorInfo", said)
        elif status.ByteSize() > 4096:
            self._blame(name, path, code, f"a status of {status.ByteSize()} bytes")

    def _blame(self, name: str, *what: str) -> None:
        self.faults[what] += 1
        self.examples.setdefault(what, name)


def _named(message: Message, chance: random.Random) -> Message:
    """Returns the message, or a copy that asks for another resource to be made."""
    ids = [one.name for one in message.DESCRIPTOR.fields if one.name.endswith("_id")]
    if ids and chance.random() < 0.5:
        copy = type(message)()
        copy.CopyFrom(message)
        setattr(copy, ids[0], f"{getattr(message, ids[0])}{chance.randrange(1000)}")
        return copy
    return message


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _breaks_a_rule(method: MethodDescriptor, data: bytes) -> bool:
    try:
        validate(GetMessageClass(method.input_type).FromString(data))
    except (DecodeError, ServiceError):
        return True
    return False
