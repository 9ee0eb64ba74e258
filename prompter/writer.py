"""Knows everything that writes: strategies, WordNet, and the language model when it is needed."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from prompter.llm import LanguageModel, LanguageModelSource
from prompter.meanings import described
from prompter.strategies.registry import all_strategies, strategy_of
from prompter.strategy import Prompt, Strategy
from prompter.subject import find_subject, senses_of
from prompter.wordnet import Sense, WordNet
from servicekit.errors import DeadlineExceeded, Precondition

# Time that is left to answer with what went wrong, before the caller's deadline passes.
_MARGIN_SECONDS = 0.3


@dataclass(frozen=True)
class PromptRequest:
    """Prompts to write; meanings as in variegate.prompter.v1.WritePromptsRequest."""

    class_name: str
    strategy: str
    count: int
    seed: int = 0
    sense: str = ""
    meaning: str = ""
    others: tuple[str, ...] = ()
    display_name: str = ""


class PromptWriter:
    """Writes prompts and looks senses up. The language model is loaded when first needed."""

    def __init__(self, wordnet: WordNet, source: LanguageModelSource) -> None:
        self._wordnet = wordnet
        self._source = source
        self._opened: asyncio.Task[LanguageModel] | None = None
        self._identity: str | None = None

    def strategies(self) -> list[tuple[Strategy, bool]]:
        """Returns all strategies, sorted by id, and whether each can be used now."""
        usable = self._source.problem is None
        return [(s, usable or not s.needs_llm) for s in all_strategies().values()]

    async def language_model_id(self) -> str:
        """Returns the id of the language model, without loading it; "" if none can be used."""
        if self._source.problem:
            return ""
        if self._identity is None:
            self._identity = await asyncio.to_thread(self._source.identify)
        return self._identity

    async def senses(self, class_name: str, display_name: str = "") -> list[Sense]:
        """Returns WordNet's senses of a class, the most frequent first."""
        return await asyncio.to_thread(senses_of, self._wordnet, class_name, display_name)

    async def meanings(
        self, class_name: str, others: Sequence[str], seconds: float, display_name: str = ""
    ) -> tuple[list[str], str]:
        """Returns meanings that WordNet does not have and the language model that knows them.

        Both are empty without a model that can list meanings. Raises
        DeadlineExceeded if `seconds` are over, and Unavailable if its server is away.
        """
        if self._source.problem:
            return [], ""
        deadline = _deadline(seconds)
        llm = await self._language_model(deadline)
        if not llm.lists:
            return [], ""
        found = described(self._wordnet, class_name, others, llm, deadline, display_name)
        return await found, llm.id

    async def write(self, wanted: PromptRequest, seconds: float | None) -> AsyncIterator[Prompt]:
        """Yields the prompts in order. Stops working when its reader stops reading.

        `seconds` are left to the caller; None means no limit. Raises InvalidArgument for an unknown
        strategy or sense, Precondition if the strategy needs a language model and none can be
        used, DeadlineExceeded if time runs out, and Unavailable if its server is away.
        """
        strategy = strategy_of(wanted.strategy)
        if strategy.needs_llm and self._source.problem:
            raise Precondition(
                f"the strategy {strategy.id!r} needs a language model: {self._source.problem}",
                subject="language model",
                reason="LLM_MISSING",
            )
        deadline = _deadline(seconds)
        subject = await asyncio.to_thread(
            find_subject,
            self._wordnet,
            wanted.class_name,
            wanted.sense,
            wanted.meaning,
            wanted.others,
            wanted.display_name,
        )
        llm = await self._language_model(deadline) if strategy.needs_llm else None
        async for prompt in strategy.write(subject, wanted.seed, wanted.count, llm, deadline):
            yield prompt

    async def close(self) -> None:
        """Releases the language model."""
        if self._opened is not None:
            [llm] = await asyncio.gather(self._opened, return_exceptions=True)
            if not isinstance(llm, BaseException):
                await llm.close()

    async def _language_model(self, deadline: float | None) -> LanguageModel:
        """Returns the model, opened by the first who asks; who cannot wait leaves it opening."""
        if self._opened is None or (self._opened.done() and self._opened.exception()):
            self._opened = asyncio.create_task(asyncio.to_thread(self._source.open))
        left = None if deadline is None else deadline - time.monotonic()
        try:
            return await asyncio.wait_for(asyncio.shield(self._opened), left)
        except TimeoutError:
            message = "the language model is being loaded; ask again later"
            raise DeadlineExceeded(message, reason="LLM_LOADING") from None


def _deadline(seconds: float | None) -> float | None:
    return None if seconds is None else time.monotonic() + seconds - _MARGIN_SECONDS
