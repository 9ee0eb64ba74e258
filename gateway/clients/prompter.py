"""The prompter: prompts of a class."""

from dataclasses import dataclass
from functools import cached_property

from variegate.prompter.v1 import prompter_pb2 as pb
from variegate.prompter.v1 import prompter_pb2_grpc as rpc

from gateway.clients.channel import LazyChannel
from gateway.clients.patience import patiently
from gateway.settings import GatewaySettings


@dataclass(frozen=True)
class Prompts:
    """Prompts in order, and the language model that wrote each (empty for templates)."""

    prompts: tuple[str, ...]
    models: tuple[str, ...]


class Prompter:
    """Calls of the prompter."""

    def __init__(self, settings: GatewaySettings) -> None:
        service = pb.DESCRIPTOR.services_by_name["PrompterService"]
        self._channel = LazyChannel(settings.prompter, service)
        self._settings = settings

    @cached_property
    def _stub(self) -> rpc.PrompterServiceStub:
        return rpc.PrompterServiceStub(self._channel.open())

    async def write(self, class_name: str, strategy: str, count: int, seed: int) -> Prompts:
        """Returns `count` prompts of a class. Raises ServiceError."""
        request = pb.WritePromptsRequest(
            class_name=class_name, strategy=strategy, prompt_count=count, seed=seed
        )

        async def call() -> Prompts:
            stream = self._stub.WritePrompts(request, timeout=self._settings.call_seconds)
            answers = [answer async for answer in stream if not answer.HasField("error")]
            answers.sort(key=lambda answer: answer.index)
            return Prompts(
                tuple(answer.prompt for answer in answers),
                tuple(answer.model for answer in answers),
            )

        return await patiently(call, self._settings.patience_seconds)

    async def close(self) -> None:
        await self._channel.close()
