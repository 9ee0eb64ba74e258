"""The file of an artefact: safetensors, with the facts as JSON in the header.

Tensors by kind; all are floating point:

UNET          "NAME": replaces the tensor of that name in the U-Net; and for a LoRA, as PEFT and
              diffusers name them, "NAME.lora_A.weight" [r, in], "NAME.lora_B.weight" [out, r] and
              "NAME.alpha" (a number; r if it is missing) of the layer NAME; those of convolutions
              have a kernel each. `read` also knows diffusers' other names and prefixes.
TOKENS        "PART" [n, d]: vectors of the embedding table of each text encoder, which a model's
              folder names: "text_encoder", and "text_encoder_2" for SDXL. The same n for each.
CONDITIONING  "text" [m, d], and "pooled_text" [p] for SDXL: what the text encoders make of a text.
ADAPTER       "image_proj.*" and "ip_adapter.*", as in the files of IP-Adapters.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from diffusion.artefacts import lora
from diffusion.artefacts.errors import BadArtefact
from diffusion.artefacts.facts import Artefact, Facts, Kind

_FORMAT = 1
# One entry: safetensors writes several in any order, and the same artefact must be the same bytes.
_ENTRY = "variegate.artefact"
_PICKLE_STARTS = (b"PK", b"\x80")  # torch.save's zip, and pickle itself.
_MOST_WORD = 64

Tensors = Mapping[str, Tensor]


def write(facts: Facts, tensors: Tensors) -> bytes:
    """Returns the file of an artefact. The same facts and tensors always give the same bytes.

    Raises ValueError for what `read` would refuse.
    """
    if problem := _problem(facts, tensors):
        raise ValueError(f"this is no artefact: {problem}")
    said = {"format": _FORMAT, **asdict(facts)}
    header = {_ENTRY: json.dumps(said, sort_keys=True, separators=(",", ":"))}
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return safetensors.torch.save(whole, header)


def digest_of(data: bytes) -> str:
    """Returns the SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def read(data: bytes, artefact: Artefact) -> tuple[Facts, Tensors]:
    """Returns the facts and tensors of a file, which must be the named one.

    A file without facts, which another program wrote, is taken to be of the kind that `artefact`
    says. Raises BadArtefact if it is another file, a pickle, damaged or of another kind.
    """
    uri = artefact.uri
    if (found := digest_of(data)) != artefact.sha256:
        raise BadArtefact(
            "sha256",
            "DIGEST_MISMATCH",
            f"{uri} has the SHA-256 {found}; the request says {artefact.sha256}",
        )
    tensors = _tensors(data, uri)
    facts = _facts(data, uri) or Facts(artefact.kind, word=_word_of_another(artefact, tensors))
    if facts.kind != artefact.kind:
        raise BadArtefact(
            "kind",
            "WRONG_KIND",
            f"{uri} is of the kind {facts.kind.name}; the request says {artefact.kind.name}",
        )
    tensors = _renamed(facts, tensors, _header(data), uri)
    if problem := _problem(facts, tensors):
        raise BadArtefact("uri", "BROKEN_ARTEFACT", f"{uri} is no artefact: {problem}")
    return facts, tensors


def _tensors(data: bytes, uri: str) -> Tensors:
    try:
        return safetensors.torch.load(data)
    except SafetensorError as error:
        # Only what is none is looked at closer: a header's length may begin as a pickle does.
        what = f"not a safetensors file: {error}"
        if data.startswith(_PICKLE_STARTS):
            what = "a pickle, which can run code when it is loaded; convert it to safetensors"
        raise BadArtefact("uri", "NOT_SAFETENSORS", f"{uri} is {what}") from error


def _header(data: bytes) -> Mapping[str, str]:
    """Returns the words in the header of a safetensors file, which is known to be one."""
    size = int.from_bytes(data[:8], "little")
    words: Mapping[str, str] = json.loads(data[8 : 8 + size]).get("__metadata__") or {}
    return words


def _facts(data: bytes, uri: str) -> Facts | None:
    """Returns the facts in a file, None where it has none. Raises BadArtefact."""
    text = _header(data).get(_ENTRY)
    if text is None:
        return None
    try:
        said = json.loads(text)
        version = said.pop("format")
        if version == _FORMAT:
            kind = Kind(said.pop("kind"))
            known = {field.name for field in fields(Facts)}
            return Facts(kind, **{name: str(said[name]) for name in known - {"kind"}})
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise BadArtefact(
            "uri",
            "BROKEN_ARTEFACT",
            f"the facts in the header of {uri} cannot be read ({error!r}); make it anew",
        ) from error
    raise BadArtefact(
        "uri",
        "BROKEN_ARTEFACT",
        f"{uri} is of the format {version}, and {_FORMAT} is read here; make it anew, or use the "
        "version of variegate that wrote it",
    )


def _renamed(facts: Facts, tensors: Tensors, header: Mapping[str, str], uri: str) -> Tensors:
    """Returns the tensors of a file of another program under our names."""
    if facts.kind == Kind.TOKENS and set(tensors) == {facts.word}:
        vectors = tensors[facts.word]
        return {"text_encoder": vectors[None] if vectors.ndim == 1 else vectors}
    return lora.renamed(tensors, header, uri) if facts.kind == Kind.UNET else tensors


def _word_of_another(artefact: Artefact, tensors: Tensors) -> str:
    """Returns the word in a file of textual inversion that another program wrote.

    Its one tensor has the word as its name.
    """
    return next(iter(tensors)) if artefact.kind == Kind.TOKENS and len(tensors) == 1 else ""


def _problem(facts: Facts, tensors: Tensors) -> str:
    """Says what is wrong with an artefact whatever its model; "" if nothing is."""
    if not tensors:
        return "it holds no tensors"
    if facts.kind != Kind.TOKENS and facts.word:
        return f"only TOKENS have a word, and this has {facts.word!r}"
    if facts.kind == Kind.TOKENS and not _is_word(facts.word):
        return (
            f"its word is {facts.word!r}; use 1 to {_MOST_WORD} characters without white space, "
            "for example <my-cat>"
        )
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            return f"{name!r} holds {tensor.dtype}, not floating point numbers"
        if not bool(torch.isfinite(tensor).all()):
            return f"{name!r} holds values that are NaN or infinite"
    return ""


def _is_word(word: str) -> bool:
    return 0 < len(word) <= _MOST_WORD and word.isprintable() and not any(map(str.isspace, word))
