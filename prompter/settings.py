"""Settings of the prompter."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PrompterSettings:
    """PROMPTER_LLM and so on.

    `llm` is "packaged", "none", a model folder or "http://HOST:PORT/v1#MODEL". `llm_threads` limits
    the processor threads of a local language model; 0 leaves torch's own number. A server has
    `llm_timeout_seconds` to write one text, or less where the caller's deadline is nearer.
    """

    llm: str = "packaged"
    llm_threads: int = 0
    llm_timeout_seconds: float = 60.0
