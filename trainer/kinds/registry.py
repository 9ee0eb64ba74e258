"""The kinds of runs, by the collection of their names."""

from collections.abc import Mapping

from servicekit.storage import ObjectStore
from trainer.kinds.base import RunKind
from trainer.kinds.classify import ClassifyKind
from trainer.kinds.search import SearchKind
from trainer.kinds.tune import TuneKind
from trainer.settings import TrainerSettings

_KINDS: tuple[type[RunKind], ...] = (ClassifyKind, SearchKind, TuneKind)
KINDS: Mapping[str, type[RunKind]] = {kind.collection: kind for kind in _KINDS}


def type_of(run: str) -> type[RunKind]:
    """The kind of a run, by its name "COLLECTION/ID"."""
    return KINDS[run.partition("/")[0]]


class Kinds:
    """Each kind with what it works on."""

    def __init__(self, settings: TrainerSettings, store: ObjectStore) -> None:
        self._kinds = {name: kind(settings, store) for name, kind in KINDS.items()}

    def of(self, run: str) -> RunKind:
        """The kind of a run, by its name."""
        return self._kinds[run.partition("/")[0]]
