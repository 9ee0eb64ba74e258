"""The gRPC face of the prompter: proto in, proto out."""

from collections.abc import AsyncIterator

import grpc
from variegate.prompter.v1 import prompter_pb2 as pb
from variegate.prompter.v1 import prompter_pb2_grpc as rpc

from prompter.class_names import ClassNames
from prompter.meanings import scored_text
from prompter.strategy import Prompt, Strategy
from prompter.subject import sense_of
from prompter.wordnet import Sense
from prompter.writer import PromptRequest, PromptWriter
from servicekit.errors import Internal
from servicekit.statuses import to_status


class PrompterService(rpc.PrompterServiceServicer):
    """Serves prompts and senses. Translates; the writer thinks."""

    def __init__(self, writer: PromptWriter) -> None:
        self._writer = writer
        self._names = ClassNames()

    async def WritePrompts(
        self, request: pb.WritePromptsRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[pb.WritePromptsResponse]:
        """Streams the prompts in order of their index."""
        wanted = PromptRequest(
            class_name=request.class_name,
            strategy=request.strategy,
            count=request.prompt_count,
            seed=request.seed,
            sense=request.sense,
            meaning=request.meaning,
            others=self._others(request),
            display_name=request.display_name,
        )
        index = 0
        async for prompt in self._writer.write(wanted, context.time_remaining()):
            yield _prompt_to_pb(index, prompt)
            index += 1

    async def DescribeSenses(
        self, request: pb.DescribeSensesRequest, context: grpc.aio.ServicerContext
    ) -> pb.DescribeSensesResponse:
        """Answers with WordNet's senses of the name, and the language model's if asked for."""
        name = request.display_name or request.class_name
        found = await self._writer.senses(request.class_name, request.display_name)
        senses = [_sense_to_pb(name, sense, "") for sense in found]
        if request.include_llm:
            others, seconds = self._others(request), context.time_remaining()
            meanings, model = await self._writer.meanings(
                request.class_name, others, seconds, request.display_name
            )
            senses += [_sense_to_pb(name, sense_of(name, text), model) for text in meanings]
        return pb.DescribeSensesResponse(senses=senses)

    async def RegisterClassNames(
        self, request: pb.RegisterClassNamesRequest, context: grpc.aio.ServicerContext
    ) -> pb.RegisterClassNamesResponse:
        """Answers with the digest of the names."""
        return pb.RegisterClassNamesResponse(digest=self._names.add(request.class_names))

    def _others(
        self, request: pb.WritePromptsRequest | pb.DescribeSensesRequest
    ) -> tuple[str, ...]:
        """Returns the names that a request says or refers to."""
        return (*request.other_class_names, *self._names.get(request.class_names_digest))

    async def GetLanguageModel(
        self, request: pb.GetLanguageModelRequest, context: grpc.aio.ServicerContext
    ) -> pb.LanguageModel:
        """Answers with the language model's id."""
        return pb.LanguageModel(id=await self._writer.language_model_id())

    async def ListStrategies(
        self, request: pb.ListStrategiesRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListStrategiesResponse:
        """Answers with all strategies."""
        strategies = [_strategy_to_pb(s, usable) for s, usable in self._writer.strategies()]
        return pb.ListStrategiesResponse(strategies=strategies)


def _prompt_to_pb(index: int, prompt: Prompt) -> pb.WritePromptsResponse:
    answer = pb.WritePromptsResponse(
        index=index,
        prompt=prompt.text,
        model=prompt.model,
        style=prompt.style,
        fallback=prompt.fallback,
    )
    if prompt.problem:
        message = f"{prompt.model} did not write prompt {index}: {prompt.problem}"
        error = Internal(message, reason="PROMPT_UNUSABLE")
        answer.error.CopyFrom(to_status(error, "prompter"))
    return answer


def _sense_to_pb(class_name: str, sense: Sense, model: str) -> pb.Sense:
    return pb.Sense(
        name=sense.name,
        lemmas=sense.lemmas,
        definition=sense.definition,
        hypernyms=sense.hypernyms,
        text=scored_text(class_name, sense),
        model=model,
    )


def _strategy_to_pb(strategy: Strategy, is_available: bool) -> pb.Strategy:
    return pb.Strategy(
        id=strategy.id,
        description=strategy.description,
        source=strategy.source,
        needs_llm=strategy.needs_llm,
        available=is_available,
    )
