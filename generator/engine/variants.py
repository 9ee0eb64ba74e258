"""Fine-tuned U-Nets: fetched on demand, verified, and kept until others are wanted more."""

import copy
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping

import safetensors.torch
import torch
from safetensors import SafetensorError

from diffusion.errors import BadCondition
from generator.engine.items import Variant
from generator.engine.model import Model

# Returns the bytes of a URI. Raises UnknownVariant.
Fetch = Callable[[str], bytes]

_PICKLE_STARTS = (b"PK", b"\x80")  # torch.save's zip, and pickle itself
_log = logging.getLogger(__name__)


class VariantCache:
    """The variants used last. Not thread-safe: the engine's worker owns it."""

    def __init__(self, fetch: Fetch, limit: int) -> None:
        self._fetch, self._limit = fetch, limit
        self._models: OrderedDict[tuple[str, str], Model] = OrderedDict()

    def __len__(self) -> int:
        return len(self._models)

    def model(self, base: Model, variant: Variant) -> Model:
        """Returns `base` with the variant's weights in its U-Net.

        Raises UnknownVariant, or BadCondition if the object is not what the digest says, not
        safetensors, or not of this model.
        """
        key = (base.card.name, variant.sha256)
        if key not in self._models:
            tensors = _read(self._fetch(variant.uri), variant)
            # Room is made first: memory may not hold one more than the limit.
            while len(self._models) >= self._limit:
                (name, digest), _ = self._models.popitem(last=False)
                _log.info("variant %s of model %s leaves the cache", digest, name)
            self._models[key] = base.with_unet(_unet(base, tensors, variant))
        self._models.move_to_end(key)
        return self._models[key]


def _read(data: bytes, variant: Variant) -> Mapping[str, torch.Tensor]:
    found = hashlib.sha256(data).hexdigest()
    if found != variant.sha256:
        raise BadCondition(
            "variant.sha256",
            "DIGEST_MISMATCH",
            f"{variant.uri} has the SHA-256 {found}; the request says {variant.sha256}",
        )
    if data.startswith(_PICKLE_STARTS):
        raise BadCondition(
            "variant.uri",
            "NOT_SAFETENSORS",
            f"{variant.uri} is a pickle, which can run code when it is loaded; convert it to "
            "safetensors",
        )
    try:
        return safetensors.torch.load(data)
    except SafetensorError as error:
        raise BadCondition(
            "variant.uri", "NOT_SAFETENSORS", f"{variant.uri} is not a safetensors file: {error}"
        ) from error


def _unet(base: Model, tensors: Mapping[str, torch.Tensor], variant: Variant) -> torch.nn.Module:
    """Returns a copy of the U-Net in which the tensors replace those of the same name."""
    own = base.pipeline.unet.state_dict()
    for name, tensor in tensors.items():
        if name not in own:
            wrong = "which the U-Net does not have"
        elif tensor.shape != own[name].shape:
            wrong = f"of shape {list(tensor.shape)}; the U-Net's has {list(own[name].shape)}"
        else:
            continue
        raise BadCondition(
            "variant.uri",
            "VARIANT_MISMATCH",
            f"{variant.uri} is not a variant of model {base.card.name!r}: it holds {name!r}, "
            f"{wrong}",
        )
    unet: torch.nn.Module = copy.deepcopy(base.pipeline.unet)
    unet.load_state_dict(dict(tensors), strict=False)
    return unet
