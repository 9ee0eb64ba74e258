"""The files of a model's folder, read without loading any weight."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from diffusion.errors import BrokenModel
from servicekit.weights import weights_variant

# Defaults of the user's own, which requests can override: no part of the model's digest.
OWN_DEFAULTS = "variegate.json"
_PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"}
_DIGESTED = {".safetensors", ".json", ".txt"}
_CHUNK = 1 << 22


class ModelFolder:
    """A diffusers folder. Its methods raise BrokenModel with a sentence."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        self._files = {file.relative_to(path).as_posix(): file for file in _files(path)}

    def json(self, path: str) -> dict[str, Any]:
        """Returns the object in a JSON file."""
        if path not in self._files:
            raise BrokenModel(self.name, f"{path} is missing; it is not a whole diffusers folder")
        try:
            values = json.loads(self._files[path].read_text())
        except ValueError as error:
            raise BrokenModel(self.name, f"{path} is not JSON: {error}") from error
        if not isinstance(values, dict):
            raise BrokenModel(self.name, f"{path} is not a JSON object")
        return values

    def has(self, path: str) -> bool:
        """Says whether there is such a file."""
        return path in self._files

    def has_weights(self, part: str) -> bool:
        """Says whether a part has weights that are no pickles."""
        return any(p.startswith(f"{part}/") and p.endswith(".safetensors") for p in self._files)

    def named(self, pattern: str) -> list[str]:
        """Returns the files of the folder itself whose names match a pattern, sorted."""
        return sorted(path for path in self._files if "/" not in path and fnmatch(path, pattern))

    def tensor_shapes(self, path: str) -> Mapping[str, tuple[int, ...]]:
        """Returns the shapes of the tensors of a safetensors file by their names."""
        try:
            with safe_open(self._files[path], framework="np") as file:
                return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise BrokenModel(self.name, f"{path} is not a safetensors file: {error}") from error

    def own_defaults(self) -> dict[str, Any]:
        """Returns what the user says of the model, if anything."""
        return self.json(OWN_DEFAULTS) if OWN_DEFAULTS in self._files else {}

    def weights_variant(self, parts: Sequence[str]) -> str | None:
        """Returns which weights to load: None, the plain ones, or "fp16" where a part has no
        others.

        A part without safetensors is refused. Pickles, which hub clones hold as well, are never
        loaded.
        """
        variant = None
        for part in parts:
            own = [path for path in self._files if path.startswith(f"{part}/")]
            weights = [path for path in own if path.endswith(".safetensors")]
            if not weights:
                pickles = [path for path in own if Path(path).suffix in _PICKLES]
                why = (
                    f", only {pickles[0]}, a pickle, which can run code when loaded"
                    if pickles
                    else ""
                )
                raise BrokenModel(
                    self.name,
                    f"{part}/ holds no .safetensors file{why}; convert it with save_pretrained",
                )
            variant = variant or weights_variant(Path(path).name for path in weights)
        return variant

    def digest(self, *parts: str) -> str:
        """Returns the SHA-256 of the paths and contents of some parts, or of the whole."""
        under = tuple(f"{part}/" for part in parts) or ("",)
        total = hashlib.sha256()
        for path in sorted(self._files):
            is_read = Path(path).suffix in _DIGESTED and path != OWN_DEFAULTS
            if path.startswith(under) and is_read:
                total.update(path.encode() + b"\0" + _file_digest(self._files[path]))
        return total.hexdigest()

    def part_id(self, *parts: str) -> str:
        """Returns a name for parts that tells them from all others."""
        return f"{parts[0]}-{self.digest(*parts)[:12]}"


def _files(folder: Path) -> Iterator[Path]:
    # Parts that several models share are often links to one folder.
    for parent, _, names in os.walk(folder, followlinks=True):
        yield from (Path(parent) / name for name in names)


def _file_digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_CHUNK):
            digest.update(block)
    return digest.digest()
