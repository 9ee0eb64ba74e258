"""Searches for an image policy: trains a classifier a fold, and tries policies on what it left out.

Its steps are those of all folds: of each the training, then one a trial. The losses of all trials
are part of the checkpoint, so that a search goes on at the trial where it was.
"""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from trainer import recipes
from trainer.classifiers.building import Normaliser, create_optimizer
from trainer.classifiers.table import classifier_of
from trainer.classifiers.weights import freeze
from trainer.data.loading import load
from trainer.data.samples import Batch, RunImages, TrainingBatches, read_images
from trainer.distribution import Share, with_whole_batch_norm
from trainer.jobs.classify import loaders_of, network_of
from trainer.precision import autocast
from trainer.runs import SearchResult, SearchSpec
from trainer.searching.candidates import CHANGES, SUB_POLICIES, Candidate, next_candidate
from trainer.searching.folds import Fold, InOrder, fold_of
from trainer.searching.found import FOUND, Change, write_found
from trainer.searching.operations import NAMES
from trainer.strategies.base import Sources

Spec = SearchSpec

_POLICY = "fast_autoaugment"
_TRIED_AT_ONCE = 250


class Trials(nn.Module):
    """The classifier of the fold that is at work, and what was tried so far, trial by trial."""

    def __init__(self, network: nn.Module, count: int) -> None:
        super().__init__()
        self.network = network
        places = SUB_POLICIES * CHANGES
        self.operations: Tensor
        self.amounts: Tensor
        self.losses: Tensor
        self.register_buffer("operations", torch.zeros(count, places, dtype=torch.int64))
        self.register_buffer("amounts", torch.zeros(count, places * 2, dtype=torch.float64))
        self.register_buffer("losses", torch.full((count,), math.inf, dtype=torch.float64))

    def candidate(self, trial: int) -> Candidate:
        """What was tried."""
        names = [NAMES[number] for number in self.operations[trial].tolist()]
        amounts = self.amounts[trial].view(-1, 2).tolist()
        changes = [Change(name, *pair) for name, pair in zip(names, amounts, strict=True)]
        return tuple(
            tuple(changes[first : first + CHANGES]) for first in range(0, len(changes), CHANGES)
        )

    def keep(self, trial: int, candidate: Candidate, loss: float) -> None:
        """Notes what was tried, and what came of it."""
        changes = [change for part in candidate for change in part]
        amounts = [value for change in changes for value in change[1:]]
        self.operations[trial] = torch.tensor([NAMES.index(one.operation) for one in changes])
        self.amounts[trial] = torch.tensor(amounts, dtype=torch.float64)
        self.losses[trial] = loss


class Search:
    """Of the spec's folder it reads `rows.npz`, and leaves `policy.json` there."""

    metrics = ("loss",)

    def __init__(self, spec: SearchSpec, share: Share, device: torch.device) -> None:
        self._spec, self._share, self._device = spec, share, device
        self._images = read_images(Path(spec.folder), spec.image_size)
        self._classifier = classifier_of(spec.classifier)
        network = network_of(spec, self._classifier)
        self._frozen = freeze(network) if spec.freeze else []
        network = with_whole_batch_norm(network, share)
        self._network = network.to(device)
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model = Trials(self._network, spec.sizes.trial_count)
        parameters = self._network.parameters()
        self.optimizer = create_optimizer(self._classifier, parameters, spec.learning_rate)
        self._trained = share.trained(self._network, device)
        self._normalised = Normaliser(self._classifier, device)

    def batches(self, first_step: int) -> Iterator[Batch | None]:
        """This process's share of each batch, made ahead; None for a trial, which makes its own."""
        spec, size = self._spec, self._spec.batch_size // self._share.count
        for number in range(spec.sizes.folds):
            first = max(0, first_step - number * spec.sizes.fold_step_count)
            steps = range(first, spec.sizes.steps)
            if steps:
                learned = self._fold(number).learned
                made = self._made(learned, recipes.load("policies", "standard"), number)
                processes = loaders_of(spec, self._share, self._device, len(steps) * size, size)
                yield from load(made, steps, processes, pinned=self._device.type == "cuda")
            trials = range(max(first, spec.sizes.steps), spec.sizes.fold_step_count)
            yield from (None for _ in trials)

    def update(self, step: int, batch: Batch | None) -> Tensor:
        """One step of a fold's classifier, or one trial; returns its loss."""
        number, place = divmod(step, self._spec.sizes.fold_step_count)
        if batch is not None:
            return self._learn(number, place, batch)
        return self._try(number, place - self._spec.sizes.steps)

    def is_done(self, step: int) -> bool:
        """Never: every trial counts."""
        return False

    def finish(self, losses: tuple[float, ...], seconds: float) -> SearchResult:
        """Joins the best of each round of each fold."""
        spec, sizes, trials = self._spec, self._spec.sizes, self.model
        best = torch.cat(
            [
                part.argsort(stable=True)[: sizes.kept] + number * sizes.trials
                for number, part in enumerate(trials.losses.split(sizes.trials))
            ]
        ).tolist()
        found = tuple(part for trial in best for part in trials.candidate(trial))
        facts = {
            "policy": _POLICY,
            "classifier": spec.classifier,
            "image_size": spec.image_size,
            "sizes": dataclasses.asdict(sizes),
            "losses": [float(trials.losses[trial]) for trial in best],
            "seed": str(spec.seed),
            "data_digest": spec.data_digest,
            "code_digest": spec.code_digest,
        }
        write_found(Path(spec.folder) / FOUND, found, facts)
        return SearchResult(
            sub_policy_count=len(found), lowest_loss=float(trials.losses.min()), seconds=seconds
        )

    def _learn(self, number: int, place: int, batch: Batch) -> Tensor:
        spec = self._spec
        torch.manual_seed(_number(spec.seed, number, place) + self._share.rank)
        if place == 0:
            self._begin(number)
        if place == 0 or not self._network.training:
            self._network.train()
            for module in self._frozen:
                module.eval()
        batch = Batch(*(part.to(self._device, non_blocking=True) for part in batch))
        factor = self._classifier.schedule.factor(place, spec.sizes.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = spec.learning_rate * factor
        with autocast(spec.precision, self._device):
            logits = self._trained(self._normalised(batch.images)).float()
        smoothing = self._classifier.label_smoothing
        loss = cross_entropy(logits, batch.labels, label_smoothing=smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return self._share.mean(torch.stack([loss.detach()]))

    def _begin(self, number: int) -> None:
        """Has the classifier of a fold start as all do, from weights of the fold's own seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_number(self._spec.seed, number))
            fresh = network_of(self._spec, self._classifier)
        self._network.load_state_dict(fresh.state_dict())
        self.optimizer.state.clear()

    def _try(self, number: int, trial: int) -> Tensor:
        sizes = self._spec.sizes
        first = number * sizes.rounds * sizes.trials
        place = first + trial
        begun = first + trial // sizes.trials * sizes.trials  # a round knows nothing of another
        known = [
            (self.model.candidate(one), float(self.model.losses[one]))
            for one in range(begun, place)
        ]
        candidate = next_candidate(known, _number(self._spec.seed, place) % 2**32)
        loss = self._loss_of(self._fold(number).tried, candidate, place)
        self.model.keep(place, candidate, float(loss))
        return loss

    @torch.inference_mode()
    def _loss_of(self, images: RunImages, candidate: Candidate, place: int) -> Tensor:
        """The mean loss [1] of the fold's classifier for images that a candidate changed."""
        self._network.eval()
        policy = recipes.load("policies", _POLICY).create(self._spec.image_size, candidate)
        count, size = len(images.labels), _TRIED_AT_ONCE
        strategy = InOrder(self._sources(images, size), place)
        made = TrainingBatches(
            images, strategy, policy, self._share, self._spec.seed, self._sees_whole()
        )
        processes = loaders_of(self._spec, self._share, self._device, count, size)
        total = torch.zeros(1, device=self._device)
        batches = load(made, range(-(-count // size)), processes, self._device.type == "cuda")
        for batch in batches:
            if len(batch.labels):
                with autocast(self._spec.precision, self._device):
                    logits = self._network(self._normalised(batch.images.to(self._device)))
                labels = batch.labels.to(self._device)
                total += cross_entropy(logits.float(), labels, reduction="sum")
        return self._share.mean(total * self._share.count / count)

    def _made(self, images: RunImages, policy: object, number: int) -> TrainingBatches:
        spec = self._spec
        sources = self._sources(images, spec.batch_size)
        return TrainingBatches(
            images,
            recipes.load("strategies", "real").create(sources),
            policy.create(spec.image_size),  # type: ignore[attr-defined]
            self._share,
            _number(spec.seed, number),
            self._sees_whole(),
        )

    def _sources(self, images: RunImages, batch_size: int) -> Sources:
        spec = self._spec
        return Sources(
            labels=images.labels,
            real_count=images.real_count,
            class_count=len(spec.class_names),
            batch_size=batch_size,
            step_count=spec.sizes.steps,
            seed=spec.seed,
            schedule=self._classifier.schedule,
        )

    def _fold(self, number: int) -> Fold:
        return fold_of(self._images, number, self._spec.sizes.images, self._spec.seed)

    def _sees_whole(self) -> bool:
        return recipes.recipes("policies")[_POLICY].sees_whole(self._spec.image_size)


def create(spec: SearchSpec, share: Share, device: torch.device) -> Search:
    """The job of this process."""
    return Search(spec, share, device)


def _number(seed: int, *parts: int) -> int:
    """A 63-bit number of its own for a seed and the place in the search."""
    return int(np.random.SeedSequence([seed, *parts, 4]).generate_state(1, np.uint64)[0] >> 1)
