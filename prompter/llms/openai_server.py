"""A language model behind an OpenAI-compatible server, such as vLLM's in the same pod."""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from prompter.llm import LanguageModel, LanguageModelSource, Reply, Task
from prompter.llms import replies
from servicekit.errors import (
    DeadlineExceeded,
    Exhausted,
    Precondition,
    ServiceError,
    Unavailable,
)
from servicekit.together import together

if TYPE_CHECKING:
    from openai import APIStatusError

IN_FLIGHT = 32
_TEMPERATURE = 0.7
_IDLE_SECONDS = 2.0
# The longest reply that the schemas allow, and then some; a reply that is cut off is refused.
_MAX_TOKENS = 160


def find(setting: str, timeout_seconds: float) -> LanguageModelSource | None:
    """Returns the model of a server, which need not run yet; None if `setting` is no URL#MODEL."""
    url, _, model = setting.partition("#")
    if not (model and _is_url(url)):
        return None

    def connect() -> LanguageModel:
        return OpenAiLanguageModel(url.rstrip("/"), model, timeout_seconds)

    return LanguageModelSource(connect, None, lambda: model)


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        # Reading the port says whether it is one.
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


class OpenAiLanguageModel:
    """Asks for JSON by schema, each text with its own seed, IN_FLIGHT texts at a time.

    What the tasks share comes first, so that the server computes it once.
    """

    chunk = 2 * IN_FLIGHT
    whole_chunks = False
    lists = True

    def __init__(self, url: str, model: str, timeout_seconds: float) -> None:
        from httpx2 import Limits
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        self.id = model
        self._url = url
        self._timeout = timeout_seconds
        # vLLM closes connections that were idle for 5 s; one that is reused just then is lost.
        limits = Limits(max_connections=None, keepalive_expiry=_IDLE_SECONDS)
        self._client = AsyncOpenAI(
            base_url=url,
            api_key="none",  # the server asks for none unless it was given one
            max_retries=0,
            http_client=DefaultAsyncHttpxClient(limits=limits),
        )
        self._room = asyncio.Semaphore(IN_FLIGHT)

    async def complete(self, tasks: Sequence[Task], deadline: float | None) -> list[Reply]:
        """Returns one reply per task. The first call that fails stops the others."""
        return await together(self._complete(task, deadline) for task in tasks)

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()

    async def _complete(self, task: Task, deadline: float | None) -> Reply:
        schema = replies.schema_of(task)
        async with self._room:
            content = await self._ask(_messages(task), task.seed, schema, self._seconds(deadline))
        return replies.parse(task, schema, content)

    def _seconds(self, deadline: float | None) -> float:
        left = self._timeout if deadline is None else deadline - time.monotonic()
        return max(0.0, min(self._timeout, left))

    async def _ask(
        self, messages: list[dict[str, str]], seed: int, schema: replies.Schema, seconds: float
    ) -> str:
        import openai

        request: dict[str, Any] = {
            "model": self.id,
            "messages": messages,
            "seed": seed & (2**31 - 1),
            "temperature": _TEMPERATURE,
            "max_tokens": _MAX_TOKENS,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "reply", "schema": schema.model_json_schema()},
            },
        }
        try:
            async with asyncio.timeout(seconds):
                completion = await self._client.chat.completions.create(
                    **request, timeout=self._timeout
                )
        except (TimeoutError, openai.APITimeoutError) as error:
            raise self._slow(seconds) from error
        except openai.APIStatusError as error:
            raise self._refused(error) from error
        except openai.APIConnectionError as error:
            raise self._unavailable("cannot be reached", "UNREACHABLE") from error
        except (openai.OpenAIError, ValueError) as error:
            raise self._unavailable(
                f"does not answer with a chat completion: {error}", "NONSENSE"
            ) from error
        return self._content(completion)

    def _content(self, completion: Any) -> str:
        """Returns the text of the answer; the client hands on whatever the server sends."""
        try:
            return str(completion.choices[0].message.content or "")
        except (AttributeError, LookupError, TypeError) as error:
            said = repr(completion)[:80]
            message = f"does not answer with a chat completion: {said}"
            raise self._unavailable(message, "NONSENSE") from error

    def _refused(self, error: "APIStatusError") -> ServiceError:
        said = f"answers {error.status_code}: {str(error.message)[:200]}"
        if error.status_code == 429:
            return Exhausted(f"the language model at {self._url} {said}", reason="LLM_BUSY")
        if error.status_code >= 500:
            return self._unavailable(said, "FAILED")
        return Precondition(
            f"the language model at {self._url} {said}; check PROMPTER_LLM={self._url}#{self.id}",
            subject=self.id,
            reason="LLM_REFUSED",
        )

    def _slow(self, seconds: float) -> ServiceError:
        message = f"the language model at {self._url} did not answer within {seconds:.1f} s"
        # Asking again helps unless it is the caller whose time is up.
        kind = Unavailable if seconds >= self._timeout else DeadlineExceeded
        return kind(message, reason="LLM_SLOW")

    def _unavailable(self, what: str, reason: str) -> Unavailable:
        return Unavailable(f"the language model at {self._url} {what}", reason=f"LLM_{reason}")


def _messages(task: Task) -> list[dict[str, str]]:
    """Returns the conversation: rules, examples, the task; then what was wrong, if it was."""
    messages = [_said("system", task.guide.rules)]
    for example in task.guide.examples:
        answer = replies.example(example)
        messages += [_said("user", example.instruction), _said("assistant", json.dumps(answer))]
    messages.append(_said("user", task.instruction))
    if task.problem:
        again = f"This cannot be used: {task.problem}. Answer again: {task.instruction}"
        messages += [_said("assistant", task.refused), _said("user", again)]
    return messages


def _said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
