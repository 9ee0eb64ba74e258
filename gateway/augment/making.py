"""Makes the images of an augmentation, shard by shard, and replaces those that filters reject."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

from gateway.api.resources import Shortfall
from gateway.augment.decisions import Decisions
from gateway.augment.embeddings import Embeddings
from gateway.augment.fitting import MOST_TEXTS, Worded, look_at_lengths, texts_of
from gateway.augment.flow import Flow, Shard
from gateway.augment.lengths import PromptLengths
from gateway.augment.method_outcome import MethodOutcome
from gateway.augment.outcomes import Outcome
from gateway.augment.output import Counts
from gateway.augment.pictures import seen_below
from gateway.augment.rates import Rate, Rates
from gateway.augment.rejections import read_rejections
from gateway.augment.rounds import Round
from gateway.augment.shards import ShardMaker
from gateway.clients.generator import Sampling
from gateway.context import Context
from gateway.durable.progress import WorkProgress
from gateway.durable.steps import in_order, step
from gateway.durable.worker import Worker, give_way
from gateway.methods.base import ClassMaterial, Slot
from gateway.plan import GeneratorModel, Item, Plan, Sample
from servicekit.errors import Precondition

# Rounds after the first in which rejected images are replaced; those in which a person rejected
# any do not count.
TOP_UPS = 5


@dataclass(frozen=True)
class Making:
    """The work of one method of an augmentation, which generates images."""

    context: Context
    plan: Plan
    model: GeneratorModel
    materials: Mapping[str, ClassMaterial]
    protected_manifest_uri: str
    progress: WorkProgress
    job: str
    folder: str  # Of the store, for what is decided.

    before: Sequence[str] = ()  # The folders of other methods, whose pictures it does not repeat.

    async def run(self) -> MethodOutcome:
        """Returns what was made, the classes that did not reach their number, and what of their
        prompts is cut."""
        slots = self.plan.first_slots([m for m in self.materials.values() if self._can_start(m)])
        lengths = await self._lengths(slots)
        checked = await self._checked(slots)
        # One step, since what is made and decided is in the store, block by block.
        counts = Counts.from_plain(await step("generate", lambda: self._generate(slots, checked)))
        return MethodOutcome(self.folder, counts, self._shortfalls(counts), lengths)

    async def _lengths(self, slots: Sequence[Slot]) -> PromptLengths:
        """Looks at prompts that are spread over all slots, or at all where they are few."""

        def prompts() -> set[Worded]:
            spread = range(0, len(slots), max(len(slots) // MOST_TEXTS, 1))
            texts = texts_of(self.plan.drafts(map(slots.__getitem__, spread), self.materials))
            return texts | ({((), negative)} if negative else set())

        negative, scale = self.plan.recipe.negative_prompt, self.plan.recipe.guidance_scale
        if negative and scale is None and self.model.default_guidance_scale <= 1:
            self.progress.notice(
                f"warning: the negative prompt has no effect: the model {self.model.name!r} is not "
                "guided by default; --guidance 5 or the like does"
            )
        return await look_at_lengths(self.context, self.model, prompts, self.progress)

    async def _checked(self, slots: Sequence[Slot]) -> Sample | None:
        """Returns the images to check for safety; None for all."""
        recipe = self.plan.recipe

        async def last() -> list[int]:
            found = await asyncio.to_thread(self.plan.sample, slots, recipe.safety_sample)
            return list(found.last)

        if recipe.check_safety:
            return None
        return Sample(self.plan, await step("sample", last))

    async def _generate(self, slots: Sequence[Slot], checked: Sample | None) -> dict[str, Any]:
        """Makes and decides on all images; goes on with what is in the store."""
        store, plan = self.context.store, self.plan
        uri = plan.recipe.rejections_uri
        rejections = await asyncio.to_thread(read_rejections, store, uri)
        seen = await asyncio.to_thread(seen_below, store, self.before)
        decisions = Decisions(
            store, self.folder, plan, self.model.name, self.progress, rejections, seen
        )
        maker = self._maker(checked)
        attempts_left = TOP_UPS
        for attempt in count():
            decisions.begin_round()
            by_person = decisions.by_person_count
            await self._attempt(
                maker,
                Round(store, self.folder, attempt, slots, self.context.settings.shard_size),
                decisions,
            )
            await self._remember(maker.watch.taken(decisions.taken()))
            attempts_left -= decisions.by_person_count == by_person
            if not decisions.again or attempts_left < 0:
                break
            if not decisions.output.counts.accepted_count:
                self._give_up(decisions)
            slots = plan.next_slots(self.materials.values(), decisions.again, attempt + 1)
        return decisions.output.counts.to_plain()

    async def _remember(self, rate: Rate) -> None:
        """Adds to what the next plan reckons with."""
        rates = Rates(self.context.store)
        await asyncio.to_thread(rates.add, self.plan.method, self.plan.recipe, self.model, rate)

    def _maker(self, checked: Sample | None) -> ShardMaker:
        recipe = self.plan.recipe
        guidance = 1.0 if self.plan.method.needs.no_guidance else recipe.guidance_scale
        return ShardMaker(
            context=self.context,
            model=self.model,
            embeddings=Embeddings(self.context, self.model),
            materials=self.materials,
            sampling=Sampling(recipe.steps, guidance, recipe.deterministic, recipe.negative_prompt),
            protected_manifest_uri=self.protected_manifest_uri,
            checked=checked,
            job=self.job,
        )

    async def _attempt(self, maker: ShardMaker, round_: Round, decisions: Decisions) -> None:
        """Makes and judges images in shards, and decides on them.

        Shards are drafted when they are made and decided on in the order of the plan as soon as
        they are there, in threads: no more than what is in flight is held, and the event loop has
        no more to do for many images than for few.
        """
        drafted: dict[int, list[Item]] = {}
        worker = Worker()
        left, known = await asyncio.to_thread(round_.restore, decisions)

        def draft(number: int) -> list[Item]:
            part = round_.shard(number)
            return self.plan.items(round_.slots[part.start : part.stop], self.materials, give_way)

        async def make(number: int, shard: Shard) -> list[Outcome]:
            if round_.key(number) in known:
                return await asyncio.to_thread(round_.read, number)
            drafted[number] = await worker.run(draft, number)
            outcomes = await maker.make(drafted[number], shard)
            await asyncio.to_thread(round_.write, number, outcomes)
            if maker.watch.is_due():
                await self._remember(maker.watch.taken())
            return outcomes

        def decide(number: int, outcomes: Sequence[Outcome]) -> None:
            items = drafted.pop(number, None) or draft(number)  # One that was read is not drafted.
            for item, outcome in zip(items, outcomes, strict=True):
                decisions.decide(item, outcome)
                give_way()
            if round_.ends_block(number):
                decisions.end_block(round_.attempt, number // round_.shards_of_block)
                round_.forget(number)

        async def use(number: int, outcomes: Sequence[Outcome]) -> None:
            await worker.run(decide, number, outcomes)
            self.progress.advance(len(outcomes))

        done = round_.shard(left.start).start if left else len(round_.slots)
        self.progress.start("generate", len(round_.slots), "images", done)
        await in_order(
            left,
            lambda number: partial(make, number),
            begin=Flow(self.context.clients, round_.shard_size).begin,
            use=use,
        )

    def _can_start(self, material: ClassMaterial) -> bool:
        needs = self.plan.method.needs
        if needs.prompt_strategy and not material.prompts:
            return False
        if needs.tuning and not material.artefacts:
            return False
        starts_from_images = needs.captions or needs.image_embeddings or needs.parents
        return bool(material.parents) or not starts_from_images

    def _give_up(self, decisions: Decisions) -> None:
        """Ends the work if not one image could be made: more attempts would fail alike."""
        counts, first = decisions.output.counts, decisions.first_rejected
        if first and all(reasons.keys() == {"FAILED"} for reasons in counts.reasons.values()):
            item_id, message = first
            raise Precondition(
                f"none of {counts.rejected_count} images could be made; the first failed with "
                f"{message}",
                subject=item_id,
                reason="NOTHING_MADE",
            )

    def _shortfalls(self, counts: Counts) -> list[Shortfall]:
        made = counts.made
        shortfalls = []
        for name, material in self.materials.items():
            wanted = self.plan.kept(material)
            if made[name] >= wanted:
                continue
            reason = "the class has no training image to start from"
            if material.problem:
                reason = material.problem
            elif material.figures and not material.prompts:
                count = material.figures.failed_count
                reason = f"the language model failed to write any of {count} prompts"
            elif self._can_start(material):
                reasons = counts.reasons[name].most_common()
                why = ", ".join(f"{count} {reason}" for reason, count in reasons)
                reason = f"images were rejected in every attempt: {why}"
            shortfalls.append(Shortfall(name, wanted, made[name], reason))
        return shortfalls
