"""Trains a classifier on real and synthetic images, and tests it."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainer import recipes
from trainer.checkpoints import save_weights
from trainer.classifiers.building import Normaliser, build, create_optimizer
from trainer.classifiers.table import INITIAL, Classifier, classifier_of
from trainer.classifiers.weights import check_size, freeze, load_weights
from trainer.course import Course
from trainer.data.images import Chosen, Images
from trainer.data.loading import load, process_count
from trainer.data.samples import (
    Batch,
    PlainBatches,
    Policy,
    RunImages,
    TrainingBatches,
    read_images,
)
from trainer.distribution import Share, with_whole_batch_norm
from trainer.evaluation import Predictions, predict, scores_of
from trainer.image_policies import image_policy
from trainer.mixing import Blend, any_of, paired, random_of
from trainer.onnx_export import export_onnx
from trainer.precision import autocast
from trainer.runs import BEST, RunResult, RunSpec
from trainer.schedules import PLATEAU, Plateau, epoch_steps
from trainer.scores import TestSetScores
from trainer.searching.found import FOUND, read_found
from trainer.strategies.base import Sources, Strategy, UnfitModelError

WEIGHTS, PREDICTIONS = "weights.safetensors", "predictions.npz"
# Test images that an exported classifier is checked with.
_CHECKED = 8
# Processor threads that train while one process loads.
_THREADS_A_LOADER = 4

Spec = RunSpec


class Classify:
    """Of the spec's folder it reads `rows.npz`, and leaves there `weights.safetensors`, and
    `predictions.npz` with `labels` and `confidences` of the test images."""

    metrics: tuple[str, ...] = ("loss", "train_accuracy")

    def __init__(self, spec: RunSpec, share: Share, device: torch.device) -> None:
        self._spec, self._share, self._device = spec, share, device
        self._images = read_images(Path(spec.folder), spec.image_size)
        self._classifier = classifier = classifier_of(spec.classifier)
        self._strategy = _strategy(spec, classifier, self._images)
        network = network_of(spec, classifier)
        self._network = with_whole_batch_norm(self._strategy.adapt(network), share)
        # Of a frozen network what stays in the mode for testing.
        self._frozen = freeze(self._network) if spec.freeze else []
        self._network.to(device)
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = create_optimizer(
            classifier, self._network.parameters(), spec.learning_rate
        )
        self._trained = share.trained(self._network, device)
        self._epoch_steps = epoch_steps(len(self._images.labels), spec.batch_size)
        self._course = self._course_of(spec)
        self.model = self._course or self._network
        self._step = spec.step_count  # of the last update
        if self._course:
            self.metrics = (*self.metrics, "validation_accuracy")
        self._normalised = Normaliser(classifier, device)
        self._blend = _blend(spec)

    def batches(self, first_step: int) -> Iterator[Batch]:
        """This process's share of each, made ahead."""
        spec, share = self._spec, self._share
        self._begin_training()
        policy = _policy(spec)
        made = TrainingBatches(
            self._images, self._strategy, policy, share, spec.seed, self._sees_whole()
        )
        steps, size = range(first_step, spec.step_count), spec.batch_size // share.count
        processes = self._processes(len(steps) * size, size)
        return load(made, steps, processes, pinned=self._device.type == "cuda")

    def update(self, step: int, batch: Batch) -> Tensor:
        """One step of the whole batch's loss; returns it, and the share that was told rightly."""
        spec, strategy, course = self._spec, self._strategy, self._course
        if course and course.epoch < 0:
            course.end_epoch(self._validation_accuracy())

        # Move the batch.
        batch = Batch(*(part.to(self._device, non_blocking=True) for part in batch))
        images, targets = self._mixed(step, batch)
        torch.manual_seed(_number(spec.seed, step) + self._share.rank)  # for dropout

        # Update the weights.
        by_step = strategy.learning_rate_factor(step)
        factor = course.factor if course and spec.schedule else by_step
        learning_rate = spec.learning_rate * factor
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        with autocast(spec.precision, self._device):
            logits = strategy.logits(self._trained, images, batch.synthetic)
        logits = logits.float()
        loss = strategy.loss(logits, targets, self._classifier.label_smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        hits = _hits(logits.detach(), targets)
        measured = self._share.mean(torch.stack([loss.detach(), hits]))
        self._step = step + 1
        if course is None:
            return measured
        if self._step % self._epoch_steps == 0 or self._step == spec.step_count:
            course.end_epoch(self._validation_accuracy())
        return torch.cat([measured, measured.new_tensor([course.latest])])

    def _mixed(self, step: int, batch: Batch) -> tuple[Tensor, Tensor]:
        """What the network is given, and the labels [B]; or, of mixed images, their shares."""
        if self._blend is None:
            return self._normalised(batch.images), batch.labels
        mixed, spec = paired(batch, self._share), self._spec
        images, partners = self._normalised(mixed.images), self._normalised(mixed.partners)
        images, share = self._blend(images, partners, random_of(spec.seed, step))
        return images, mixed.targets(share, len(spec.class_names))

    def is_done(self, step: int) -> bool:
        """Only where the schedule says so: a comparison gives every classifier the same steps."""
        return self._course is not None and self._course.is_done

    def finish(self, losses: tuple[float, ...], seconds: float) -> RunResult:
        """Tests the classifier, and keeps its weights and predictions."""
        spec, images = self._spec, self._images
        chosen = self._choose()
        predicted = self._predict(images.test)
        np.savez(
            Path(spec.folder) / PREDICTIONS,
            labels=predicted.labels,
            confidences=predicted.confidences,
        )
        weights = self._strategy.weights(self._network)
        save_weights(Path(spec.folder) / WEIGHTS, weights, spec.card())
        return RunResult(
            **scores_of(images.test_labels, predicted, spec.class_names),
            real_image_count=images.real_count,
            synthetic_image_count=len(images.labels) - images.real_count,
            seconds=seconds,
            final_loss=float(np.mean(losses)),
            policy_digest=spec.found_policy,
            done_step_count=self._step,
            chosen_step=chosen,
            mean=self._classifier.mean,
            std=self._classifier.std,
            onnx_failure=self._export(weights) if spec.export_onnx else "",
            test_sets=tuple(self._test(*one) for one in images.test_sets),
            validation=self._test("validation", *images.validation) if images.validation else None,
        )

    def _course_of(self, spec: RunSpec) -> Course | None:
        """Of a run that decides something by its validation images."""
        if not spec.validates:
            return None
        if self._images.validation is None:
            raise UnfitModelError("there are no images to choose by; set validation")
        count = -(-spec.step_count // self._epoch_steps)
        plateau = Plateau() if spec.schedule == PLATEAU else None
        return Course(self._network, count, plateau, keeps_best=spec.choose == BEST)

    def _begin_training(self) -> None:
        self._network.train()
        for module in self._frozen:
            module.eval()

    def _validation_accuracy(self) -> float:
        """The share of validation images that all processes together tell rightly."""
        assert self._images.validation is not None
        images, labels = self._images.validation
        rows = self._share.of_batch(np.arange(len(labels)))
        hits = 0
        if len(rows):
            predicted = self._predict(Chosen((images, rows))).labels
            hits = int((predicted == labels[rows]).sum())
        self._begin_training()
        return self._share.total(hits, self._device) / len(labels)

    def _choose(self) -> int:
        """Takes the weights that are wanted; returns the step that they are of."""
        if self._course is None or self._spec.choose != BEST:
            return self._step
        self._course.choose_best()
        return min(self._course.best_epoch * self._epoch_steps, self._step)

    def _export(self, weights: Mapping[str, Tensor]) -> str:
        first = PlainBatches(self._images.test).__getitems__(0)[:_CHECKED]
        return export_onnx(self._spec, weights, first)

    def _test(self, name: str, images: Images, labels: NDArray[np.int64]) -> TestSetScores:
        scores = scores_of(labels, self._predict(images), self._spec.class_names)
        return TestSetScores(name=name, **scores)

    def _predict(self, images: Images) -> Predictions:
        batches = PlainBatches(images)
        processes = self._processes(len(images), batches.size)
        pinned = self._device.type == "cuda"
        loaded = load(batches, range(len(batches)), processes, pinned)
        with autocast(self._spec.precision, self._device):
            return predict(self._network, loaded, self._normalised, self._device)

    def _sees_whole(self) -> bool:
        changes = image_policy(self._spec.policy).changes
        return changes.sees_whole(self._spec.image_size)

    def _processes(self, image_count: int, batch_size: int) -> int:
        return loaders_of(self._spec, self._share, self._device, image_count, batch_size)


def create(spec: RunSpec, share: Share, device: torch.device) -> Classify:
    """The job of this process."""
    return Classify(spec, share, device)


def network_of(spec: RunSpec, classifier: Classifier) -> nn.Module:
    """The network that a run starts from."""
    network = build(classifier, len(spec.class_names))
    if classifier.library == "timm":
        check_size(network, spec.classifier, spec.image_size)
    if spec.initial_weights:
        load_weights(network, Path(spec.folder) / INITIAL)
    return network


def loaders_of(
    spec: RunSpec, share: Share, device: torch.device, image_count: int, batch_size: int
) -> int:
    """Processes that load: beside a GPU all processors do; else most of them train."""
    threads, is_gpu = spec.threads // share.local_count, device.type == "cuda"
    return process_count(
        spec.loaders,
        image_count=image_count,
        batch_bytes=batch_size * 3 * spec.image_size**2,
        most=max(1, threads - 1 if is_gpu else threads // _THREADS_A_LOADER),
    )


def _policy(spec: RunSpec) -> Policy:
    create = recipes.load("policies", image_policy(spec.policy).changes.id).create
    size = spec.image_size
    policy: Policy = (
        create(size, read_found(Path(spec.folder) / FOUND)) if spec.found_policy else create(size)
    )
    return policy


def _strategy(spec: RunSpec, classifier: Classifier, images: RunImages) -> Strategy:
    sources = Sources(
        labels=images.labels,
        real_count=images.real_count,
        class_count=len(spec.class_names),
        batch_size=spec.batch_size,
        step_count=spec.step_count,
        seed=spec.seed,
        schedule=classifier.schedule,
    )
    strategy: Strategy = recipes.load("strategies", spec.strategy).create(sources)
    return strategy


def _blend(spec: RunSpec) -> Blend | None:
    """How the policy mixes the images of a batch; None if it does not."""
    mixings = image_policy(spec.policy).mixings
    blends = [recipes.load("policies", one).create_blend(spec.image_size) for one in mixings]
    return any_of(blends) if blends else None


def _hits(logits: Tensor, targets: Tensor) -> Tensor:
    """The share that is told rightly; of a mixed image that of the class which it is told to be."""
    told = logits.argmax(1)
    if targets.dim() == 1:
        return (told == targets).float().mean()
    return targets.gather(1, told[:, None]).mean()


def _number(seed: int, step: int) -> int:
    """A 63-bit number of its own for every seed and step."""
    return int(np.random.SeedSequence([seed, step, 0]).generate_state(1, np.uint64)[0] >> 1)
