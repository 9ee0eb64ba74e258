"""Training runs: classifiers that are trained on images and tested."""

import hashlib
import io
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow.compute
import pyarrow.parquet as pq
from numpy.typing import NDArray

from servicekit.errors import InvalidArgument, NotFound, Precondition
from servicekit.storage import ObjectStore, to_key
from trainer.classifiers.table import INITIAL
from trainer.data.cache import CachedImages, ImageCache
from trainer.data.leases import Lease
from trainer.defaults import with_image_size, with_steps
from trainer.guard import Selection, check_learned, check_pixels, check_test_set, select
from trainer.identity import training_digest
from trainer.image_policies import image_policy
from trainer.kinds.base import SOURCES, machine_values, run_folder
from trainer.kinds.predicted import TESTED, predictions
from trainer.kinds.rows import write_rows
from trainer.manifests import NO_SYNTHETIC, Manifest, Strings, read_dataset, read_synthetic
from trainer.precision import resolved
from trainer.runs import LAST, JobRequest, JobResult, RunRequest, RunResult, RunSpec
from trainer.searching.found import FOUND
from trainer.searching.requests import name_of_search, search_sizes
from trainer.settings import TrainerSettings

_log = logging.getLogger(__name__)

# Of a worker's folder and of the store.
_WEIGHTS, _CARD, _PREDICTIONS = "weights.safetensors", "card.json", "predictions.parquet"
_ONNX = "model.onnx"
# Its stubs know too few functions.
_compute: Any = pyarrow.compute
Mask = NDArray[np.bool_]
_TESTED_COLUMNS = ["item_id", "source", "class_name"]


@dataclass(frozen=True)
class ChosenImages:
    """The images of one run, and the manifests they come from."""

    selection: Selection
    manifest: Manifest
    synthetic: Manifest
    test_sets: tuple[Manifest, ...] = ()

    @property
    def sides(self) -> NDArray[np.int64]:
        """The shorter side of every real training image in pixels; 0 if it is not known."""
        train = self.selection.train
        sides = _compute.min_element_wise(train.column("width"), train.column("height"))
        return np.asarray(sides.to_numpy(), np.int64)

    def cache_entries(self, request: RunRequest, planned_count: int = 0) -> dict[str, int]:
        """What a run of these images, and of some planned ones, needs in the cache: bytes by name.

        The whole dataset is decoded, whichever of its images a run uses.
        """
        size, sees_whole = request.image_size, _sees_whole(request)
        parts = {self.manifest.digest: len(self.manifest)}
        if planned_count:
            parts["planned"] = planned_count
        if len(self.synthetic):
            parts[self.synthetic.digest] = len(self.synthetic)
        entries = {
            f"{digest}-{size}{'-whole' if sees_whole else ''}": ImageCache.bytes_of(
                count, size, sees_whole
            )
            for digest, count in parts.items()
        }
        return entries | {
            f"{one.digest}-{size}": ImageCache.bytes_of(len(one), size) for one in self.test_sets
        }


class ClassifyKind:
    """Classifiers, on the server's side."""

    collection: ClassVar[str] = "trainingRuns"
    title: ClassVar[str] = "training run"
    field: ClassVar[str] = "training_run"
    prefix: ClassVar[str] = "training"
    Request: ClassVar[type[JobRequest]] = RunRequest
    Result: ClassVar[type[JobResult]] = RunResult

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
        selection = select(
            manifest, request.train_item_ids, synthetic.images, validates=request.validation
        )
        for tuning in synthetic.tunings:
            self._check_learned(selection, tuning)
        test_sets = tuple(read_dataset(self._store, one.manifest_uri) for one in request.test_sets)
        for asked, test_set in zip(request.test_sets, test_sets, strict=True):
            check_test_set(selection, asked.name, test_set.images)
        if request.initial_weights_uri:
            self._check_weights(request.initial_weights_uri)
        return ChosenImages(selection, manifest, synthetic, test_sets)

    def _check_learned(self, selection: Selection, tuning: str) -> None:
        try:
            data = self._store.get(f"{tuning}/{SOURCES}")
        except NotFound:  # It was learned elsewhere, and nothing here can tell of what.
            _log.warning(
                "of which images %s learned cannot be told: it is of another store", tuning
            )
            return
        ids = pq.read_table(io.BytesIO(data), columns=["item_id"]).column("item_id")
        check_learned(selection, tuning, ids)

    def completed(
        self, request: RunRequest, images: ChosenImages, planned_count: int = 0
    ) -> RunRequest:
        """Fills in image size and steps, and the search for the policy that it names."""
        count = len(images.selection.training_ids) + planned_count
        request = with_steps(with_image_size(request, images.sides), count)
        if not image_policy(request.policy).changes.needs_search:
            return request
        sizes = search_sizes(self._settings, request, images.selection)
        request = replace(request, search=sizes)
        data = [images.manifest.digest]
        if request.initial_weights_uri:
            data.append(str(self._store.version(to_key(request.initial_weights_uri))))
        return replace(request, found_policy=name_of_search(request, data, training_digest()))

    def cache_entries(self, request: RunRequest, images: ChosenImages) -> Mapping[str, int]:
        """The whole of the dataset and of the synthetic images."""
        return images.cache_entries(request)

    def prepare(self, run: str, request: RunRequest, images: ChosenImages, lease: Lease) -> RunSpec:
        """Decodes all images of the manifests, and has equal pixels refused."""
        selection, size = images.selection, request.image_size
        whole, whole_made = _whole(request, images)
        real = self._cached(images.manifest, size, lease, whole)
        synthetic = None
        if len(images.synthetic):
            synthetic = self._cached(images.synthetic, size, lease, whole_made)
        test_sets = [self._cached(one, size, lease) for one in images.test_sets]
        check_pixels(
            selection,
            real.pixels.take(selection.train_rows),
            synthetic.pixels if synthetic else real.pixels[:0],
            [
                ("test", selection.test, real.pixels.take(selection.test_rows)),
                ("validation", selection.validation, real.pixels.take(selection.validation_rows)),
                *(("test", one.images, cached.pixels) for one, cached in _pairs(images, test_sets)),
            ],
        )
        spec = self._spec(run, request, images)
        folder = Path(spec.folder)
        folder.mkdir(parents=True, exist_ok=True)
        if request.initial_weights_uri:
            data = self._store.get(to_key(request.initial_weights_uri))
            spec = replace(spec, initial_weights=hashlib.sha256(data).hexdigest())
            (folder / INITIAL).write_bytes(data)
        if request.found_policy:
            data = self._store.get(f"{request.found_policy}/{FOUND}")
            spec = replace(spec, found_policy=hashlib.sha256(data).hexdigest())
            (folder / FOUND).write_bytes(data)
        names = [one.name for one in request.test_sets]
        write_rows(folder, selection, images.test_sets, real, synthetic, test_sets, names)
        pq.write_table(selection.test.select(_TESTED_COLUMNS), folder / TESTED)
        return spec

    def files(self, spec: RunSpec) -> Mapping[str, bytes]:
        """Weights, card and predictions, and what else the run leaves."""
        folder = Path(spec.folder)
        card = json.dumps(spec.card(), indent=1, sort_keys=True, ensure_ascii=False)
        found = {FOUND: (folder / FOUND).read_bytes()} if spec.found_policy else {}
        if spec.export_onnx and (folder / _ONNX).exists():
            found[_ONNX] = (folder / _ONNX).read_bytes()
        return found | {
            _WEIGHTS: (folder / _WEIGHTS).read_bytes(),
            _CARD: f"{card}\n".encode(),
            _PREDICTIONS: predictions(folder, spec.class_names),
        }

    def kept(self, result: RunResult, uris: Mapping[str, str], metrics_uri: str) -> RunResult:
        """The result with the places of its files."""
        return replace(
            result,
            weights_uri=uris[_WEIGHTS],
            card_uri=uris[_CARD],
            predictions_uri=uris[_PREDICTIONS],
            metrics_uri=metrics_uri,
            policy_uri=uris.get(FOUND, ""),
            onnx_uri=uris.get(_ONNX, ""),
        )

    def pace_key(self, request: RunRequest) -> Sequence[Any]:
        """The classifier, the policy, the sizes of image and batch, and who shares it."""
        sizes = [request.image_size, request.batch_size]
        if request.node_count or request.gpus_per_node:
            sizes += [request.node_count, request.gpus_per_node]
        return [request.classifier, request.policy, *sizes]

    def _check_weights(self, uri: str) -> None:
        if not self._store.exists(to_key(uri, "training_run.initial_weights_uri")):
            raise Precondition(
                f"there are no weights {uri} in the store; give the weights_uri of a run, or put a "
                "safetensors file there",
                subject=uri,
                reason="WEIGHTS_MISSING",
            )

    def _cached(
        self, manifest: Manifest, size: int, lease: Lease, whole: Mask | None = None
    ) -> CachedImages:
        uris = Strings(manifest.images.column("image_uri"))
        return self._cache.cached(manifest.digest, uris, size, lease, whole)

    def _spec(self, run: str, request: RunRequest, images: ChosenImages) -> RunSpec:
        data = [images.manifest.digest, images.synthetic.digest, *request.train_item_ids]
        data += [part for one in images.test_sets for part in ("test set", one.digest)]
        data += ["validation"] if request.validation else []
        data_digest = hashlib.sha256("\n".join(data).encode()).hexdigest()
        return RunSpec(
            folder=str(run_folder(self._settings, run, data_digest)),
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
            freeze=request.freeze,
            export_onnx=request.export_onnx,
            schedule=request.schedule,
            choose=request.choose or LAST,
            precision=resolved(self._settings.precision, self._settings.device),
            **machine_values(self._settings),
        )


def _sees_whole(request: RunRequest) -> bool:
    return image_policy(request.policy).changes.sees_whole(request.image_size)


def _whole(request: RunRequest, images: ChosenImages) -> tuple[Mask | None, Mask | None]:
    """Which real and which synthetic images are kept whole; None for none: a test sees squares."""
    if not _sees_whole(request):
        return None, None
    is_train = _compute.equal(images.manifest.images.column("split"), "train")
    return np.asarray(is_train.to_numpy(), np.bool_), np.ones(len(images.synthetic), np.bool_)


def _pairs(
    images: ChosenImages, cached: Sequence[CachedImages]
) -> Iterable[tuple[Manifest, CachedImages]]:
    return zip(images.test_sets, cached, strict=True)
