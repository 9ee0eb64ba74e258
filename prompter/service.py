"""The gRPC face of the prompter: proto in, proto out."""

from collections.abc import AsyncIterator

import grpc
from variegate.prompter.v1 import prompter_pb2 as pb
from variegate.prompter.v1 import prompter_pb2_grpc as rpc

from prompter.strategy import Strategy
from prompter.wordnet import Sense
from prompter.writer import PromptWriter


class PrompterService(rpc.PrompterServiceServicer):
    """Serves prompts and senses. Translates; the writer thinks."""

    def __init__(self, writer: PromptWriter) -> None:
        self._writer = writer

    async def WritePrompts(
        self, request: pb.WritePromptsRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[pb.WritePromptsResponse]:
        """Streams the prompts in order of their index."""
        prompts = self._writer.write(
            request.class_name,
            request.strategy,
            request.prompt_count,
            request.seed,
            request.sense,
        )
        index = 0
        async for prompt in prompts:
            yield pb.WritePromptsResponse(index=index, prompt=prompt.text, model=prompt.model)
            index += 1

    async def DescribeSenses(
        self, request: pb.DescribeSensesRequest, context: grpc.aio.ServicerContext
    ) -> pb.DescribeSensesResponse:
        """Answers with WordNet's senses of the name."""
        senses = await self._writer.senses(request.class_name)
        return pb.DescribeSensesResponse(senses=[_sense_to_pb(sense) for sense in senses])

    async def ListStrategies(
        self, request: pb.ListStrategiesRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListStrategiesResponse:
        """Answers with all strategies."""
        strategies = [_strategy_to_pb(s, usable) for s, usable in self._writer.strategies()]
        return pb.ListStrategiesResponse(strategies=strategies)


def _sense_to_pb(sense: Sense) -> pb.Sense:
    return pb.Sense(
        name=sense.name,
        lemmas=sense.lemmas,
        definition=sense.definition,
        hypernyms=sense.hypernyms,
    )


def _strategy_to_pb(strategy: Strategy, is_available: bool) -> pb.Strategy:
    return pb.Strategy(
        id=strategy.id,
        description=strategy.description,
        source=strategy.source,
        needs_llm=strategy.needs_llm,
        available=is_available,
    )
