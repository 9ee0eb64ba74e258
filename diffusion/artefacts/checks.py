"""Whether an artefact fits a model."""

from collections.abc import Callable, Mapping

from torch import Tensor

from diffusion.artefacts.errors import BadArtefact, mismatch
from diffusion.artefacts.facts import Facts, Kind
from diffusion.card import ModelCard

_BEGIN_AND_END = 2  # Tokens of every text.


def check_fits(facts: Facts, tensors: Mapping[str, Tensor], uri: str, card: ModelCard) -> None:
    """Raises BadArtefact unless the artefact at `uri` was made for this model.

    Of TOKENS and CONDITIONING all shapes are checked. Those of UNET and ADAPTER are checked where
    they are put into a U-Net, see `read_change` and `attach_adapter`.
    """
    if facts.base and facts.base != card.digest:
        raise BadArtefact(
            "uri",
            "ARTEFACT_MISMATCH",
            f"{uri} was made for a model with the digest {facts.base}; model {card.name!r} has "
            f"{card.digest}",
        )
    if facts.kind in _SHAPES:
        _SHAPES[facts.kind](tensors, uri, card)


def _check_tokens(tensors: Mapping[str, Tensor], uri: str, card: ModelCard) -> None:
    widths = dict(card.token_widths)
    _check_names(tensors, widths, uri, card)
    counts = {len(tensor) for tensor in tensors.values() if tensor.ndim == 2}
    for part, width in widths.items():
        shape = list(tensors[part].shape)
        if len(shape) != 2 or shape[1] != width:
            raise mismatch(
                f"{uri} is not of model {card.name!r}: its vectors of {part} have the shape "
                f"{shape}; the tokens there are {width} wide, so use [n, {width}]"
            )
    most = card.text_shape[0] - _BEGIN_AND_END
    if len(counts) > 1 or not 1 <= max(counts) <= most:
        found = " and ".join(map(str, sorted(counts)))
        raise mismatch(
            f"{uri} has {found} vectors for its word; use 1 to {most}, as many for each text "
            "encoder"
        )


def _check_conditioning(tensors: Mapping[str, Tensor], uri: str, card: ModelCard) -> None:
    _check_names(tensors, card.text_shapes, uri, card)
    for name, shape in card.text_shapes.items():
        if (found := tuple(tensors[name].shape)) != shape:
            raise mismatch(
                f"{uri} is not of model {card.name!r}: {name!r} has the shape {list(found)}; a "
                f"text of the model has {list(shape)}"
            )


def _check_names(
    tensors: Mapping[str, Tensor], expected: Mapping[str, object], uri: str, card: ModelCard
) -> None:
    if tensors.keys() != expected.keys():
        raise mismatch(
            f"{uri} is not of model {card.name!r}: it holds {' and '.join(sorted(tensors))}; such "
            f"an artefact of the model holds {' and '.join(sorted(expected))}"
        )


_SHAPES: Mapping[Kind, Callable[[Mapping[str, Tensor], str, ModelCard], None]] = {
    Kind.TOKENS: _check_tokens,
    Kind.CONDITIONING: _check_conditioning,
}
