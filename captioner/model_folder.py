"""Where a model's files are, and what identifies them."""

import hashlib
from pathlib import Path

from safetensors import SafetensorError, safe_open

from servicekit.errors import Precondition
from servicekit.weights import weights_variant

_FILES = ("*.json", "*.txt", "*.model", "*.jinja", "*.safetensors")


def find_model(model: Path, revision: str) -> Path:
    """Returns the folder of a model: `model` itself, or a hub id's files, downloaded once.

    Raises Precondition if there is neither, or no whole weights of safetensors in it.
    """
    folder = model if model.is_dir() else _download(str(model), revision)
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise Precondition(
            f"there is no *.safetensors file in {folder}; other weight formats are not loaded, "
            "convert the model with save_pretrained",
            subject=str(model),
            reason="MODEL_NOT_SAFETENSORS",
        )
    for file in weights:
        _check_weights(file)
    return folder


def variant_of(folder: Path) -> str | None:
    """Returns "fp16" if only such files hold the weights, else None: the plain ones are loaded."""
    return weights_variant(file.name for file in folder.glob("*.safetensors"))


def digest_of(folder: Path) -> str:
    """Returns the SHA-256 of the names and contents of a model's files, as 64 hex digits."""
    digest = hashlib.sha256()
    for file in sorted({file for pattern in _FILES for file in folder.glob(pattern)}):
        digest.update(file.name.encode() + b"\0")
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()


def _check_weights(file: Path) -> None:
    try:
        with safe_open(file, "np"):
            return
    except SafetensorError as error:
        raise Precondition(
            f"{file} is not a whole safetensors file ({error}); get it again, or convert the model "
            "with save_pretrained if it is a pickle, which is never loaded",
            subject=str(file),
            reason="MODEL_BROKEN",
        ) from error


def _download(model: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        path = snapshot_download(model, revision=revision or None, allow_patterns=list(_FILES))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise Precondition(
            f"the captioner's model {model} is neither a folder nor a model that the hub gives "
            "access to; set CAPTIONER_MODEL to a folder or a hub id",
            subject=model,
            reason="MODEL_MISSING",
        ) from error
    return Path(path)
