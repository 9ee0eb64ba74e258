"""Models with artefacts in their U-Nets: made on demand, and kept until others are wanted more."""

import copy
import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from diffusion.artefacts.checks import check_fits
from diffusion.artefacts.errors import BadArtefact
from diffusion.artefacts.facts import Artefact, Kind
from diffusion.artefacts.files import Tensors, read
from diffusion.artefacts.unet import UnetChange, read_change
from diffusion.errors import BadCondition
from diffusion.ip_adapter import attach_adapter, check_adapter
from generator.engine.checks import changed_card
from generator.engine.model import LoadedModel

# Returns the bytes of a URI. Raises UnknownArtefact.
Fetch = Callable[[str], bytes]

_log = logging.getLogger(__name__)


class ChangedModels:
    """The changed models used last. Not thread-safe: the engine's worker owns it.

    At most `limit` U-Nets are kept beside those of the models themselves.
    """

    def __init__(self, fetch: Fetch, limit: int) -> None:
        self._fetch, self._limit = fetch, limit
        self._models: OrderedDict[Hashable, LoadedModel] = OrderedDict()

    def __len__(self) -> int:
        return len(self._models)

    def model(self, base: LoadedModel, artefacts: Sequence[Artefact]) -> LoadedModel:
        """Returns `base` with artefacts of the kinds UNET and ADAPTER in a U-Net of its own.

        Raises UnknownArtefact, or BadCondition that names the artefact which cannot be used.
        """
        if not artefacts:
            return base
        key = (base.card.name, frozenset(artefact.sha256 for artefact in artefacts))
        if key not in self._models:
            self._models[key] = self._changed(base, artefacts)
        self._models.move_to_end(key)
        return self._models[key]

    def _changed(self, base: LoadedModel, artefacts: Sequence[Artefact]) -> LoadedModel:
        change: UnetChange | None = None
        adapter: Tensors | None = None
        for number, artefact in enumerate(artefacts):
            with named(f"artefacts[{number}]"):
                tensors = self._read(base, artefact)
                if artefact.kind == Kind.UNET:
                    change = read_change(base.pipeline.unet, tensors, artefact.uri)
                else:
                    check_adapter(
                        base.pipeline.unet, tensors, artefact.uri, base.card.image_dimension
                    )
                    adapter = tensors
        # Room is made first: memory may not hold one more than the limit.
        while len(self._models) >= self._limit:
            key, _ = self._models.popitem(last=False)
            _log.info("the U-Net of %s leaves the device", key)
        unet: torch.nn.Module = copy.deepcopy(base.pipeline.unet)
        if change is not None:
            change.apply(unet)
        if adapter is not None:
            attach_adapter(unet, adapter)
            unet.requires_grad_(False).eval()
        return base.with_unet(unet, changed_card(base.card, artefacts))

    def _read(self, base: LoadedModel, artefact: Artefact) -> Mapping[str, Tensor]:
        facts, tensors = read(self._fetch(artefact.uri), artefact)
        check_fits(facts, tensors, artefact.uri, base.card)
        return tensors


@contextmanager
def named(field: str) -> Iterator[None]:
    """Raises BadArtefact as BadCondition, with the path of the artefact's field."""
    try:
        yield
    except BadArtefact as error:
        raise BadCondition(f"{field}.{error.field}", error.reason, str(error)) from error
