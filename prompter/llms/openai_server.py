"""A language model behind an OpenAI-compatible server, such as vLLM's in the same pod."""

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from prompter.llm import LanguageModelSource, Task
from servicekit.errors import Unavailable

_TIMEOUT_SECONDS = 120.0
_IN_FLIGHT = 16
_SYSTEM = (
    "You write short, concrete image captions. Answer with JSON only: "
    '{"caption": "<one sentence that begins with the given words>"}.'
)
_SCHEMA = {
    "type": "object",
    "properties": {"caption": {"type": "string", "maxLength": 200}},
    "required": ["caption"],
    "additionalProperties": False,
}


def find(setting: str) -> LanguageModelSource:
    """Returns the model "URL#MODEL"; unusable if the model's name is missing."""
    url, _, model = setting.partition("#")
    problem = None
    if not model:
        problem = f"PROMPTER_LLM={setting} names no model; write it as {url}#MODEL"
    return LanguageModelSource(lambda: OpenAiLanguageModel(url.rstrip("/"), model), problem)


@dataclass(frozen=True)
class OpenAiLanguageModel:
    """Asks the server for JSON by schema, with the text's own seed, several texts at a time."""

    url: str
    id: str

    def complete(self, tasks: Sequence[Task]) -> list[str]:
        """Returns one text per task. Raises Unavailable if the server cannot be reached."""
        with ThreadPoolExecutor(_IN_FLIGHT) as pool:
            return list(pool.map(self._complete, tasks))

    def _complete(self, task: Task) -> str:
        asked = f"{task.instruction} Begin with: {task.opening}"
        body = {
            "model": self.id,
            "messages": [
                {"role": "system", "content": _SYSTEM},
                {"role": "user", "content": asked},
            ],
            "seed": task.seed & (2**31 - 1),
            "temperature": 0.7,
            "max_tokens": 4 * task.max_tokens,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "caption", "schema": _SCHEMA},
            },
        }
        return _caption(self._post("/chat/completions", body))

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
                answer: dict[str, Any] = json.load(response)
                return answer
        except (urllib.error.URLError, TimeoutError, ValueError) as error:
            raise Unavailable(
                f"the language model at {self.url} did not answer: {error}",
                reason="LLM_UNREACHABLE",
            ) from error


def _caption(answer: dict[str, Any]) -> str:
    """Returns the caption, or "" if the model's answer has none: the strategy then draws anew."""
    try:
        return str(json.loads(answer["choices"][0]["message"]["content"])["caption"])
    except (LookupError, TypeError, ValueError):
        return ""
