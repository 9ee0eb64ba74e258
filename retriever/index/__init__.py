"""Vector indexes: one file per kind, and the one place that chooses between them."""

from retriever.index.base import Neighbours, VectorIndex
from retriever.index.flat import FlatIndex
from retriever.index.ivf import IvfIndex

KINDS: dict[str, type[VectorIndex]] = {kind.kind: kind for kind in (FlatIndex, IvfIndex)}

__all__ = ["KINDS", "FlatIndex", "IvfIndex", "Neighbours", "VectorIndex", "kind_for"]


def kind_for(count: int, flat_limit: int) -> type[VectorIndex]:
    """Returns the kind of index for a pool of `count` vectors: exact up to `flat_limit`."""
    return FlatIndex if count <= flat_limit else IvfIndex
