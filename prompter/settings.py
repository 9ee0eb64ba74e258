"""Settings of the prompter."""

from dataclasses import dataclass

from servicekit.settings import setting


@dataclass(frozen=True)
class PrompterSettings:
    """Each is PROMPTER_... in the environment."""

    llm: str = setting(
        "packaged",
        "The language model: packaged (SmolLM2), none, a model folder of safetensors, or an "
        "OpenAI-compatible server as http://HOST:PORT/v1#MODEL.",
    )
    llm_threads: int = setting(
        0, "Processor threads of a local language model; 0 leaves torch's own number.", least=0
    )
    llm_timeout_seconds: float = setting(
        60.0,
        "Longest that a server may take for one text; less where the caller's deadline is nearer.",
        least=0.001,
    )
