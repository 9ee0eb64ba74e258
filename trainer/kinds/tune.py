"""Tunings: diffusion models that learn something of images."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from numpy.typing import NDArray

from servicekit.errors import InvalidArgument, Precondition
from servicekit.storage import ObjectStore
from trainer.data.cache import ImageCache
from trainer.data.leases import Lease
from trainer.data.seeds import key_of, seed_of
from trainer.guard import Selection, check_pixels, select
from trainer.identity import tuning_digest
from trainer.kinds.base import SOURCES, machine_values, run_folder
from trainer.manifests import NO_SYNTHETIC, Manifest, Strings, read_dataset
from trainer.runs import JobRequest, JobResult
from trainer.settings import TrainerSettings
from trainer.tunings.defaults import texts_of, with_steps
from trainer.tunings.models import Models
from trainer.tunings.values import TuneSpec, TuningRequest, TuningResult

if TYPE_CHECKING:
    from diffusion.card import ModelCard

# Of a class, one image of so many is held out, and no more than the second number.
_ONE_OF, _MOST_HELD_OUT = 5, 64
_compute: Any = pyarrow.compute


@dataclass(frozen=True)
class TuningChoice:
    """The images of one tuning: `train` and `held_out` are their places in the manifest."""

    selection: Selection
    manifest: Manifest
    card: "ModelCard"
    class_names: tuple[str, ...]
    train: NDArray[np.int64]
    held_out: NDArray[np.int64]

    @property
    def rows(self) -> NDArray[np.int64]:
        """All images, those that are held out last."""
        return np.concatenate([self.train, self.held_out])

    @property
    def images(self) -> Any:
        """The manifest's rows of all images."""
        return self.manifest.images.take(pa.array(self.rows))

    @property
    def size(self) -> int:
        """The side of the images in pixels."""
        return max(self.card.width, self.card.height)


class TuneKind:
    """Tunings, on the server's side."""

    collection: ClassVar[str] = "tunings"
    title: ClassVar[str] = "tuning"
    field: ClassVar[str] = "tuning"
    prefix: ClassVar[str] = "tuning"
    Request: ClassVar[type[JobRequest]] = TuningRequest
    Result: ClassVar[type[JobResult]] = TuningResult

    def __init__(self, settings: TrainerSettings, store: ObjectStore) -> None:
        self._settings, self._store = settings, store
        self._cache = ImageCache(store, settings.scratch / "images", settings.cache_bytes)
        self._models = Models(settings.models_folder)

    def choose(self, request: TuningRequest) -> TuningChoice:
        """Reads model and manifest. Raises as `Models.to_tune` and `guard.select` do."""
        card = self._models.to_tune(request.model, request.method, request.model_digest)
        if request.cluster_count:
            self._models.to_tell_apart(request.feature_model, card)
        manifest = read_dataset(self._store, request.manifest_uri, self.field)
        ids, none = request.train_item_ids, NO_SYNTHETIC.images
        selection = select(manifest, ids, none, self.field, needs_test=False)
        names = _classes(request, selection)
        labels = np.asarray(selection.train.column("class_name").to_pylist())
        parts = [
            _divided(selection, np.flatnonzero(labels == name), request.seed) for name in names
        ]
        train = np.sort(np.concatenate([train for train, _ in parts]))
        held_out = np.sort(np.concatenate([held_out for _, held_out in parts]))
        rows = selection.train_rows
        return TuningChoice(selection, manifest, card, names, rows[train], rows[held_out])

    def completed(self, request: TuningRequest, images: TuningChoice) -> TuningRequest:
        """Fills in the classes, what texts call them, and the steps."""
        request = replace(request, class_names=images.class_names)
        request = replace(request, class_texts=texts_of(request))
        return with_steps(request, len(images.train))

    def cache_entries(self, request: TuningRequest, images: TuningChoice) -> Mapping[str, int]:
        """The whole dataset, which the tunings of all its classes share."""
        size, count = images.size, len(images.manifest)
        return {f"{images.manifest.digest}-{size}": ImageCache.bytes_of(count, size)}

    def prepare(
        self, run: str, request: TuningRequest, images: TuningChoice, lease: Lease
    ) -> TuneSpec:
        """Decodes all images of the manifest, and has pixels of test images refused."""
        uris = Strings(images.manifest.images.column("image_uri"))
        cached = self._cache.cached(images.manifest.digest, uris, images.size, lease)
        selection = images.selection
        check_pixels(
            selection,
            cached.pixels.take(selection.train_rows),
            cached.pixels[:0],
            [("test", selection.test, cached.pixels.take(selection.test_rows))],
        )
        chosen = images.images
        spec = self._spec(run, request, images, _data_digest(chosen, len(images.train)))
        folder = Path(spec.folder)
        folder.mkdir(parents=True, exist_ok=True)
        names = pa.array(images.class_names, pa.string())
        labels = _compute.index_in(chosen.column("class_name"), value_set=names)
        keys = [key_of(item_id) for item_id in chosen.column("item_id").to_pylist()]
        np.savez(
            folder / "rows.npz",
            path=str(cached.path),
            rows=images.rows,
            labels=np.asarray(labels.to_numpy(), np.int64),
            keys=np.array(keys, np.uint64),
            train_count=len(images.train),
        )
        is_held_out = pa.array(np.arange(len(chosen)) >= len(images.train))
        sources = chosen.select(["item_id", "sha256", "class_name"])
        pq.write_table(
            sources.append_column("is_held_out", is_held_out), folder / SOURCES, compression="zstd"
        )
        return spec

    def files(self, spec: TuneSpec) -> Mapping[str, bytes]:
        """The artefacts, and the images that they were learned from."""
        folder = Path(spec.folder)
        files = sorted(folder.glob("*-*.safetensors"))
        return {file.name: file.read_bytes() for file in (*files, folder / SOURCES)}

    def kept(self, result: TuningResult, uris: Mapping[str, str], metrics_uri: str) -> TuningResult:
        """The result with all places."""
        artefacts = tuple(replace(one, uri=uris[one.name]) for one in result.artefacts)
        return replace(
            result, artefacts=artefacts, metrics_uri=metrics_uri, sources_uri=uris[SOURCES]
        )

    def pace_key(self, request: TuningRequest) -> Sequence[Any]:
        """The method, the model, and the batch, and who shares it."""
        shares = [request.node_count, request.gpus_per_node]
        return ["tuning", request.method, request.model, request.batch_size, *shares]

    def _spec(
        self, run: str, request: TuningRequest, images: TuningChoice, data_digest: str
    ) -> TuneSpec:
        features = None
        if request.cluster_count:
            features = self._models.to_tell_apart(request.feature_model, images.card)
        return TuneSpec(
            folder=str(run_folder(self._settings, run, data_digest)),
            data_digest=data_digest,
            code_digest=tuning_digest(),
            method=request.method,
            model_folder=str(images.card.folder.absolute()),
            model_digest=images.card.digest,
            class_names=request.class_names,
            class_texts=request.class_texts,
            templates=request.templates,
            image_size=images.size,
            step_count=request.step_count,
            epoch_step_count=request.epoch_step_count,
            patience=request.patience,
            batch_size=request.batch_size,
            learning_rate=request.learning_rate,
            seed=request.seed,
            cluster_count=request.cluster_count,
            feature_folder=str(features.folder.absolute()) if features else "",
            feature_digest=features.digest if features else "",
            rank=request.rank,
            **machine_values(self._settings),
        )


def _classes(request: TuningRequest, selection: Selection) -> tuple[str, ...]:
    """The classes that are used, of which each has an image to train on."""
    with_images = set(selection.train.column("class_name").unique().to_pylist())
    if not request.class_names:
        return tuple(name for name in selection.class_names if name in with_images)
    unknown = [name for name in request.class_names if name not in selection.class_names]
    if unknown:
        raise InvalidArgument(
            f"the dataset has no class {unknown[0]!r}; it has "
            f"{', '.join(selection.class_names[:20])}",
            field="tuning.class_names",
            reason="UNKNOWN_CLASS",
        )
    empty = [name for name in request.class_names if name not in with_images]
    if empty:
        raise Precondition(
            f"the class {empty[0]!r} has no image in the training subset to learn from; declare "
            "some of its images, or leave it out",
            subject=empty[0],
            reason="CLASS_EMPTY",
        )
    return request.class_names


def _divided(
    selection: Selection, places: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of a class's images among the training images: to train on, and to hold out.

    Which are held out depends on the seed and on the images alone.
    """
    ids = selection.train.column("item_id").take(pa.array(places)).to_pylist()
    order = np.argsort(np.array([seed_of(seed, 0, key_of(one)) for one in ids], np.uint64))
    count = min(len(places) // _ONE_OF, _MOST_HELD_OUT)
    return places[order[count:]], places[order[:count]]


def _data_digest(images: Any, train_count: int) -> str:
    """Stands for the content of the images, for their classes, and for which are held out."""
    digest = hashlib.sha256(f"{train_count}\n".encode())
    columns = (images.column(name).to_pylist() for name in ("item_id", "sha256", "class_name"))
    for row in zip(*columns, strict=True):
        digest.update("\t".join(row).encode() + b"\n")
    return digest.hexdigest()
