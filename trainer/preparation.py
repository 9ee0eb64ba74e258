"""Gets a run ready for its worker: images chosen, guarded and decoded, a folder with its spec."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute
import pyarrow.parquet as pq
from numpy.typing import NDArray

from servicekit.errors import InvalidArgument
from servicekit.storage import ObjectStore
from trainer.data.cache import CachedImages, ImageCache
from trainer.data.leases import Lease
from trainer.data.seeds import key_of
from trainer.guard import Selection, check_pixels, select
from trainer.identity import training_digest
from trainer.manifests import NO_SYNTHETIC, Manifest, Strings, read_dataset, read_synthetic
from trainer.runs import RunRequest, RunSpec
from trainer.settings import TrainerSettings

# Of the folder of a run: the test images in the order of their predictions.
TESTED = "tested.parquet"
# Its stubs know too few functions.
_compute: Any = pyarrow.compute
_TESTED_COLUMNS = ["item_id", "source", "class_name"]


@dataclass(frozen=True)
class ChosenImages:
    """The images of one run, and the manifests they come from."""

    selection: Selection
    manifest: Manifest
    synthetic: Manifest

    @property
    def sides(self) -> NDArray[np.int64]:
        """The shorter side of every real training image in pixels; 0 if it is not known."""
        train = self.selection.train
        sides = _compute.min_element_wise(train.column("width"), train.column("height"))
        return np.asarray(sides.to_numpy(), np.int64)

    def cache_entries(self, size: int, planned_count: int = 0) -> dict[str, int]:
        """What a run of these images, and of some planned ones, needs in the cache: bytes by name.

        The whole dataset is decoded, whichever of its images a run uses.
        """
        parts = {self.manifest.digest: len(self.manifest)}
        if planned_count:
            parts["planned"] = planned_count
        if len(self.synthetic):
            parts[self.synthetic.digest] = len(self.synthetic)
        return {
            f"{digest}-{size}": ImageCache.bytes_of(count, size) for digest, count in parts.items()
        }


class Preparation:
    """Reads manifests and images from the store and writes local files. Thread-safe."""

    def __init__(self, settings: TrainerSettings, store: ObjectStore) -> None:
        self._settings = settings
        self._store = store
        self._cache = ImageCache(store, settings.scratch / "images", settings.cache_bytes)

    def choose(self, request: RunRequest) -> ChosenImages:
        """Reads the manifests and checks all they can tell. Raises as `guard.select` does."""
        manifest = read_dataset(self._store, request.manifest_uri)
        synthetic = NO_SYNTHETIC
        if request.synthetic_manifest_uri:
            synthetic = read_synthetic(self._store, request.synthetic_manifest_uri)
            if not len(synthetic):
                raise InvalidArgument(
                    f"{request.synthetic_manifest_uri} has no image; leave it out to train on real "
                    "images only",
                    field="training_run.synthetic_manifest_uri",
                )
        selection = select(manifest, request.train_item_ids, synthetic.images)
        return ChosenImages(selection, manifest, synthetic)

    def prepare(
        self, run_id: str, request: RunRequest, images: ChosenImages, lease: Lease
    ) -> RunSpec:
        """Fetches and guards the images, and writes the folder of the run.

        The images stay until `lease` is released.
        """
        selection, size = images.selection, request.image_size
        real = self._cached(images.manifest, size, lease)
        synthetic = self._cached(images.synthetic, size, lease) if len(images.synthetic) else None
        check_pixels(
            selection,
            real.pixels.take(selection.train_rows),
            real.pixels.take(selection.test_rows),
            synthetic.pixels if synthetic else real.pixels[:0],
        )
        spec = self._spec(run_id, request, images)
        folder = Path(spec.folder)
        folder.mkdir(parents=True, exist_ok=True)
        _write_rows(folder, selection, real, synthetic)
        pq.write_table(selection.test.select(_TESTED_COLUMNS), folder / TESTED)
        return spec

    def _cached(self, manifest: Manifest, size: int, lease: Lease) -> CachedImages:
        uris = Strings(manifest.images.column("image_uri"))
        return self._cache.cached(manifest.digest, uris, size, lease)

    def _spec(self, run_id: str, request: RunRequest, images: ChosenImages) -> RunSpec:
        data = [images.manifest.digest, images.synthetic.digest, *request.train_item_ids]
        data_digest = hashlib.sha256("\n".join(data).encode()).hexdigest()
        # A run id is unique in one store only, while several stores may share the scratch folder.
        folder = self._settings.scratch / "runs" / f"{run_id}-{data_digest[:12]}"
        return RunSpec(
            folder=str(folder.absolute()),
            data_digest=data_digest,
            code_digest=training_digest(),
            class_names=images.selection.class_names,
            strategy=request.strategy,
            policy=request.policy,
            classifier=request.classifier,
            step_count=request.step_count,
            batch_size=request.batch_size,
            learning_rate=request.learning_rate,
            seed=request.seed,
            image_size=request.image_size,
            threads=self._settings.threads or len(os.sched_getaffinity(0)),
            checkpoint_seconds=self._settings.checkpoint_seconds,
            device=self._settings.device,
            loaders=self._settings.loaders,
        )


def _write_rows(
    folder: Path, selection: Selection, real: CachedImages, synthetic: CachedImages | None
) -> None:
    ids = Strings(selection.training_ids)
    labels = [selection.labels(images) for images in (selection.train, selection.synthetic)]
    np.savez(
        folder / "rows.npz",
        real_path=str(real.path),
        synthetic_path=str(synthetic.path) if synthetic else "",
        train_rows=selection.train_rows,
        test_rows=selection.test_rows,
        synthetic_rows=np.arange(len(selection.synthetic), dtype=np.int64),
        train_labels=np.concatenate(labels),
        keys=np.fromiter(map(key_of, ids), np.uint64, len(ids)),
        test_labels=selection.labels(selection.test),
    )
