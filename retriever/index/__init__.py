"""Vector indexes: one file per kind, and the one place that chooses between them."""

from collections.abc import Mapping

from retriever.index.base import IndexKind, Neighbours, VectorIndex
from retriever.index.flat import FlatKind
from retriever.index.ivf_pq import IvfPqKind
from retriever.index.milvus import MilvusKind, MilvusServer
from servicekit.errors import Precondition

__all__ = ["ENGINES", "IndexKind", "IndexKinds", "Neighbours", "VectorIndex"]

ENGINES = ("faiss", "milvus")


class IndexKinds:
    """The kinds that can be opened, and the one that a new pool gets.

    New indexes go to `engine`, "faiss" or "milvus"; with FAISS pools of up to `flat_limit` images
    are searched exactly. An index of either engine is opened whatever new ones get.
    """

    def __init__(self, engine: str, *, flat_limit: int, milvus_uri: str = "") -> None:
        if engine not in ENGINES:
            raise Precondition(
                f"RETRIEVER_INDEX is {engine!r}; use {' or '.join(ENGINES)}",
                subject="RETRIEVER_INDEX",
                reason="BAD_SETTING",
            )
        if engine == "milvus" and not milvus_uri:
            raise Precondition(
                "RETRIEVER_INDEX is milvus but RETRIEVER_MILVUS is not set; give the address of "
                "the server, for example http://milvus:19530",
                subject="RETRIEVER_MILVUS",
                reason="BAD_SETTING",
            )
        kinds: list[IndexKind] = [FlatKind(), IvfPqKind()]
        if milvus_uri:
            kinds.append(MilvusKind(MilvusServer(milvus_uri), flat_limit))
        self._kinds: Mapping[str, IndexKind] = {kind.name: kind for kind in kinds}
        self._engine, self._flat_limit = engine, flat_limit

    def for_count(self, count: int) -> IndexKind:
        """Returns the kind for a new pool of `count` vectors."""
        if self._engine == "milvus":
            return self._kinds[MilvusKind.name]
        return self._kinds[FlatKind.name if count <= self._flat_limit else IvfPqKind.name]

    def named(self, name: str, index: str) -> IndexKind:
        """Returns the kind that `index` was built with. Raises Precondition if it is not here."""
        if name not in self._kinds:
            raise Precondition(
                f"{index} is of the kind {name}, and this retriever has only "
                f"{', '.join(self._kinds)}; serve it with the settings that it was built with"
                + (", RETRIEVER_MILVUS among them" if name == MilvusKind.name else ""),
                subject=index,
                reason="INDEX_KIND",
            )
        return self._kinds[name]
