"""The prompter: prompts of a class."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar
from weakref import WeakKeyDictionary

import grpc
from variegate.prompter.v1 import prompter_pb2 as pb
from variegate.prompter.v1 import prompter_pb2_grpc as rpc

from gateway.augment.senses import Sense
from gateway.clients.channel import LazyChannel
from gateway.clients.patience import Patience, patiently
from gateway.clients.replicas import Replicas
from gateway.datasets.display_names import Synset
from gateway.settings import GatewaySettings
from servicekit.statuses import from_rpc_error
from servicekit.tls.certificates import Certificates

T = TypeVar("T")


@dataclass(frozen=True)
class Prompt:
    """A prompt, the language model that wrote it (empty for templates), and its style, if any.

    With `fallback` it says less than its kind asks for, because nobody knows more of the class.
    """

    text: str
    model: str = ""
    style: str = ""
    fallback: bool = False


@dataclass(frozen=True)
class PromptRequest:
    """Prompts to ask for; meanings as in variegate.prompter.v1.WritePromptsRequest."""

    class_name: str
    strategy: str
    count: int
    seed: int
    sense: str = ""
    meaning: str = ""
    class_names: tuple[str, ...] = ()
    display_name: str = ""


class Prompter:
    """Calls of the prompter."""

    def __init__(self, settings: GatewaySettings, certificates: Certificates | None) -> None:
        service = pb.DESCRIPTOR.services_by_name["PrompterService"]
        self._channel = LazyChannel(settings.prompter, certificates, service)
        self._settings = settings
        # Digests of the class names that a replica was told, by its stub.
        self._registered: WeakKeyDictionary[rpc.PrompterServiceStub, dict[tuple[str, ...], str]] = (
            WeakKeyDictionary()
        )
        self._registering = asyncio.Lock()
        self.replicas = Replicas(
            settings.prompter, service, rpc.PrompterServiceStub, _any_number, certificates
        )

    @cached_property
    def _stub(self) -> rpc.PrompterServiceStub:
        return rpc.PrompterServiceStub(self._channel.open())

    async def write(self, wanted: PromptRequest) -> tuple[list[Prompt], list[str]]:
        """Returns prompts in order, and why others could not be written. Raises ServiceError."""
        request = pb.WritePromptsRequest(
            class_name=wanted.class_name,
            strategy=wanted.strategy,
            prompt_count=wanted.count,
            seed=wanted.seed,
            sense=wanted.sense,
            meaning=wanted.meaning,
            display_name=wanted.display_name,
        )

        async def attempt(stub: rpc.PrompterServiceStub) -> tuple[list[Prompt], list[str]]:
            timeout = self._settings.call_seconds
            stream = stub.WritePrompts(request, timeout=timeout)
            answers = sorted([answer async for answer in stream], key=lambda one: one.index)
            failed = [one.error.message for one in answers if one.HasField("error")]
            written = [one for one in answers if not one.HasField("error")]
            prompts = [Prompt(one.prompt, one.model, one.style, one.fallback) for one in written]
            return prompts, failed

        return await self._call(self._knowing(wanted.class_names, request, attempt))

    async def senses(
        self, class_name: str, display_name: str, class_names: tuple[str, ...]
    ) -> list[Sense]:
        """Returns what a class can mean, the commonest first. Raises ServiceError.

        `class_names` are what the dataset's classes are called, this one among them.
        """
        request = pb.DescribeSensesRequest(
            class_name=class_name,
            include_llm=True,
            display_name=display_name,
        )
        timeout = self._settings.call_seconds

        async def attempt(stub: rpc.PrompterServiceStub) -> pb.DescribeSensesResponse:
            return await stub.DescribeSenses(request, timeout=timeout)

        answer = await self._call(self._knowing(class_names, request, attempt))
        return [Sense(one.name, one.definition, one.text, one.model) for one in answer.senses]

    async def synset(self, imagenet_id: str) -> Synset | None:
        """Returns what WordNet knows of an id such as "n01440764", or None."""
        answer = await self._describe(pb.DescribeSensesRequest(class_name=imagenet_id))
        if not answer.senses:
            return None
        [found] = answer.senses
        return Synset(tuple(found.lemmas), found.hypernyms[0] if found.hypernyms else "")

    async def _describe(self, request: pb.DescribeSensesRequest) -> pb.DescribeSensesResponse:
        timeout = self._settings.call_seconds
        return await self._call(lambda stub: stub.DescribeSenses(request, timeout=timeout))

    def _knowing(
        self,
        names: tuple[str, ...],
        request: pb.WritePromptsRequest | pb.DescribeSensesRequest,
        attempt: Callable[[rpc.PrompterServiceStub], Awaitable[T]],
    ) -> Callable[[rpc.PrompterServiceStub], Awaitable[T]]:
        """Returns an attempt whose replica knows the names of the dataset's classes.

        They are said to each replica once, and again where it has forgotten them; each class's
        request has their digest alone, so that bytes grow with the number of classes.
        """
        if not names:
            return attempt

        async def register(stub: rpc.PrompterServiceStub) -> None:
            wanted = pb.RegisterClassNamesRequest(class_names=names)
            timeout = self._settings.call_seconds
            answer = await stub.RegisterClassNames(wanted, timeout=timeout)
            self._registered.setdefault(stub, {})[names] = answer.digest

        async def knowing(stub: rpc.PrompterServiceStub) -> T:
            async with self._registering:
                if names not in self._registered.get(stub, {}):
                    await register(stub)
            request.class_names_digest = self._registered[stub][names]
            try:
                return await attempt(stub)
            except grpc.aio.AioRpcError as error:
                if from_rpc_error(error).reason != "CLASS_NAMES_UNKNOWN":
                    raise
            await register(stub)
            return await attempt(stub)

        return knowing

    async def _call(self, attempt: Callable[[rpc.PrompterServiceStub], Awaitable[T]]) -> T:
        patience = Patience(self._settings.patience_seconds, "prompter")
        return await self.replicas.call(1, attempt, patience)

    async def language_model(self) -> str:
        """Returns the id of the language model; "" if none can be used."""
        request, timeout = pb.GetLanguageModelRequest(), self._settings.call_seconds
        answer = await patiently(
            lambda: self._stub.GetLanguageModel(request, timeout=timeout),
            self._settings.patience_seconds,
            "prompter",
        )
        return str(answer.id)

    async def close(self) -> None:
        await self.replicas.close()
        await self._channel.close()


async def _any_number(stub: rpc.PrompterServiceStub) -> int:
    """A prompt is a template or a language model's minute: no call waits for another one's end."""
    return 1 << 30
