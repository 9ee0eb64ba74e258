"""Gets a run ready for its worker: images chosen, guarded and decoded, a folder with its spec."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from servicekit.errors import InvalidArgument
from servicekit.storage import ObjectStore
from trainer.data.cache import CachedImages, ImageCache
from trainer.data.leases import Lease
from trainer.data.seeds import key_of
from trainer.guard import Selection, check_pixels, select
from trainer.identity import training_digest
from trainer.manifests import Item, Manifest, SyntheticManifest, read_dataset, read_synthetic
from trainer.runs import RunRequest, RunSpec
from trainer.settings import TrainerSettings

# Of the folder of a run: the test images in the order of their predictions.
TESTED = "tested.parquet"


@dataclass(frozen=True)
class ChosenImages:
    """The images of one run, and the manifests they come from."""

    selection: Selection
    manifest: Manifest
    synthetic: SyntheticManifest

    @property
    def sides(self) -> list[int]:
        """The shorter side of every real training image in pixels; 0 if it is not known."""
        return [min(item.width, item.height) for item in self.selection.train]

    def cache_entries(self, size: int, planned_count: int = 0) -> dict[str, int]:
        """What a run of these images, and of some planned ones, needs in the cache: bytes by name.

        The whole dataset is decoded, whichever of its images a run uses.
        """
        parts = {self.manifest.digest: len(self.manifest.items)}
        if planned_count:
            parts["planned"] = planned_count
        if self.synthetic.items:
            parts[self.synthetic.digest] = len(self.synthetic.items)
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
        synthetic = SyntheticManifest("", ())
        if request.synthetic_manifest_uri:
            synthetic = read_synthetic(self._store, request.synthetic_manifest_uri)
            if not synthetic.items:
                raise InvalidArgument(
                    f"{request.synthetic_manifest_uri} has no image; leave it out to train on real "
                    "images only",
                    field="training_run.synthetic_manifest_uri",
                )
        selection = select(manifest, request.train_item_ids, synthetic.items)
        return ChosenImages(selection, manifest, synthetic)

    def prepare(
        self, run_id: str, request: RunRequest, images: ChosenImages, lease: Lease
    ) -> RunSpec:
        """Fetches and guards the images, and writes the folder of the run.

        The images stay until `lease` is released.
        """
        selection, size = images.selection, request.image_size
        uris = [item.image_uri for item in images.manifest.items]
        real = self._cache.cached(images.manifest.digest, uris, size, lease)
        synthetic = None
        if selection.synthetic:
            uris = [item.image_uri for item in selection.synthetic]
            synthetic = self._cache.cached(images.synthetic.digest, uris, size, lease)
        place = {item.item_id: row for row, item in enumerate(images.manifest.items)}
        train, test = _rows(selection.train, place), _rows(selection.test, place)
        check_pixels(
            selection,
            [real.pixels[row] for row in train],
            [real.pixels[row] for row in test],
            synthetic.pixels if synthetic else (),
        )
        spec = self._spec(run_id, request, images)
        folder = Path(spec.folder)
        folder.mkdir(parents=True, exist_ok=True)
        _write_rows(folder, selection, real, synthetic, train, test)
        _write_tested(folder, selection.test)
        return spec

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


def _rows(items: tuple[Item, ...], place: dict[str, int]) -> list[int]:
    return [place[item.item_id] for item in items]


def _write_rows(
    folder: Path,
    selection: Selection,
    real: CachedImages,
    synthetic: CachedImages | None,
    train_rows: list[int],
    test_rows: list[int],
) -> None:
    label_of = selection.label_of
    labels = [label_of[item.class_name] for item in selection.training]
    np.savez(
        folder / "rows.npz",
        real_path=str(real.path),
        synthetic_path=str(synthetic.path) if synthetic else "",
        train_rows=np.array(train_rows, np.int64),
        test_rows=np.array(test_rows, np.int64),
        synthetic_rows=np.arange(len(selection.synthetic), dtype=np.int64),
        train_labels=np.array(labels, np.int64),
        keys=np.array([key_of(item.item_id) for item in selection.training], np.uint64),
        test_labels=np.array([label_of[item.class_name] for item in selection.test], np.int64),
    )


def _write_tested(folder: Path, items: Sequence[Item]) -> None:
    names = ("item_id", "source", "class_name")
    table = pa.table({name: [getattr(item, name) for item in items] for name in names})
    pq.write_table(table, folder / TESTED)
