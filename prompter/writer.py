"""Writes prompts outside the event loop: strategies and the language model run in one thread."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from prompter.llm import LanguageModel, LanguageModelSource
from prompter.strategies import find_strategy, load_strategies
from prompter.strategy import Prompt, Strategy
from prompter.subject import find_subject
from prompter.wordnet import Sense, WordNet
from servicekit.errors import Precondition

# Prompts handed over at a time: enough to hide the hand-over, few enough to stop soon.
_SLICE = 20


class PromptWriter:
    """Knows the strategies, WordNet and the language model, which is loaded when first needed."""

    def __init__(self, wordnet: WordNet, source: LanguageModelSource) -> None:
        self._wordnet = wordnet
        self._source = source
        self._strategies = load_strategies()
        self._llm: LanguageModel | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prompter")

    def strategies(self) -> list[tuple[Strategy, bool]]:
        """Returns all strategies, sorted by id, and whether each can be used now."""
        usable = self._source.problem is None
        return [(s, usable or not s.needs_llm) for s in self._strategies.values()]

    async def senses(self, class_name: str) -> list[Sense]:
        """Returns WordNet's senses of a class name, the most frequent first."""
        return await asyncio.to_thread(self._wordnet.senses, class_name)

    async def write(
        self, class_name: str, strategy_id: str, count: int, seed: int, sense: str
    ) -> AsyncIterator[Prompt]:
        """Yields the prompts in order. Stops working when its reader stops reading.

        Raises InvalidArgument for an unknown strategy or sense, and Precondition if the strategy
        needs a language model and none can be used.
        """
        strategy = find_strategy(self._strategies, strategy_id)
        if strategy.needs_llm and self._source.problem:
            raise Precondition(
                f"the strategy {strategy.id!r} needs a language model: {self._source.problem}",
                subject="language model",
                reason="LLM_MISSING",
            )
        subject = await asyncio.to_thread(find_subject, self._wordnet, class_name, sense)
        loop = asyncio.get_running_loop()

        def start() -> Iterator[Prompt]:
            llm = self._language_model() if strategy.needs_llm else None
            return strategy.write(subject, seed, count, llm)

        prompts = await loop.run_in_executor(self._thread, start)
        while part := await loop.run_in_executor(self._thread, _take, prompts):
            for prompt in part:
                yield prompt

    def close(self) -> None:
        """Waits for what is running and drops what waits."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _language_model(self) -> LanguageModel:
        if self._llm is None:
            self._llm = self._source.open()
        return self._llm


def _take(prompts: Iterator[Prompt]) -> list[Prompt]:
    return list(islice(prompts, _SLICE))
