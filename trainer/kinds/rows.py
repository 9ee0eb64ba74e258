"""The file that says which images of the cache a run uses (see `data.samples.read_images`)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainer.data.cache import CachedImages
from trainer.data.seeds import key_of
from trainer.guard import Selection
from trainer.manifests import Manifest, Strings


def write_rows(
    folder: Path,
    selection: Selection,
    sets: Sequence[Manifest],
    real: CachedImages,
    synthetic: CachedImages | None,
    test_sets: Sequence[CachedImages],
    names: Sequence[str],
) -> None:
    """Writes `rows.npz` into a run's folder; `sets` are further test sets, cached and named."""
    labels = selection.labels
    ids = Strings(selection.training_ids)
    further: dict[str, Any] = {
        f"test_set_{number}_labels": labels(one.images) for number, one in enumerate(sets)
    }
    np.savez(
        folder / "rows.npz",
        real_path=str(real.path),
        synthetic_path=str(synthetic.path) if synthetic else "",
        train_rows=selection.train_rows,
        test_rows=selection.test_rows,
        synthetic_rows=np.arange(len(selection.synthetic), dtype=np.int64),
        train_labels=np.concatenate([labels(selection.train), labels(selection.synthetic)]),
        keys=np.fromiter(map(key_of, ids), np.uint64, len(ids)),
        test_labels=labels(selection.test),
        validation_rows=selection.validation_rows,
        validation_labels=labels(selection.validation),
        test_set_names=np.array(names, np.str_),
        test_set_paths=np.array([str(one.path) for one in test_sets], np.str_),
        **further,
    )
