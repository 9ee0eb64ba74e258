"""Makes the images of an augmentation, shard by shard, and replaces those that filters reject."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.clients.generator import Sampling
from gateway.lengths import PromptLengths
from gateway.methods.base import ClassMaterial, Slot
from gateway.plan import Item, ModelInfo, Plan
from gateway.resources import Shortfall
from gateway.run.context import Context
from gateway.run.embeddings import Embeddings
from gateway.run.fitting import MOST_TEXTS, look_at_lengths, texts_of
from gateway.run.flow import Flow, Shard
from gateway.run.outcomes import Outcome, from_plain
from gateway.run.output import Output
from gateway.run.progress import Progress
from gateway.run.rates import Rate, Rates, rate_key
from gateway.run.seen import Seen
from gateway.run.shards import ShardMaker
from gateway.run.steps import steps_in_order
from servicekit.errors import Precondition

# Rounds after the first in which rejected images are replaced.
TOP_UPS = 5
# Items that are drafted at a time to look at their prompts.
_DRAFTED = 1024


@dataclass(frozen=True)
class Making:
    """The work of one augmentation whose method generates images."""

    context: Context
    plan: Plan
    model: ModelInfo
    materials: Mapping[str, ClassMaterial]
    protected_manifest_uri: str
    progress: Progress
    job: str

    async def run(self) -> tuple[Output, list[Shortfall], PromptLengths]:
        """Returns what was made, the classes that did not reach their number, and what of their
        prompts is cut."""
        output, seen = Output(), Seen()
        slots: Sequence[Slot] = self.plan.first_slots(
            [m for m in self.materials.values() if self._can_start(m)]
        )
        lengths = await self._lengths(slots)
        maker = await self._maker(slots)
        for _ in range(1 + TOP_UPS):
            again = await self._attempt(maker, slots, output, seen)
            counts = {False: len(again), True: len(slots) - len(again)}
            await self._remember(maker.watch.taken(counts))
            if not output.accepted_count and again:
                self._give_up(output)
            slots = await asyncio.to_thread(list, map(self.plan.again, again))
            if not slots:
                break
        return output, self._shortfalls(output), lengths

    async def _remember(self, rate: Rate) -> None:
        """Adds to what the next plan reckons with."""
        rates = Rates(self.context.store)
        await asyncio.to_thread(rates.add, rate_key(self.plan.recipe, self.model), rate)

    async def _lengths(self, slots: Sequence[Slot]) -> PromptLengths:
        """Looks at prompts that are spread over all slots, or at all where they are few."""

        def prompts() -> set[str]:
            some, found = slots[:: max(len(slots) // MOST_TEXTS, 1)], set[str]()
            for first in range(0, len(some), _DRAFTED):
                found |= texts_of(self.plan.drafts(some[first : first + _DRAFTED], materials))
            return found

        materials = self.materials
        texts = await asyncio.to_thread(prompts)
        return await look_at_lengths(self.context, self.model, texts, self.progress)

    async def _maker(self, slots: Sequence[Slot]) -> ShardMaker:
        recipe, checked = self.plan.recipe, None
        if not recipe.check_safety:
            checked = await asyncio.to_thread(self.plan.sample, slots, recipe.safety_sample)
        return ShardMaker(
            context=self.context,
            model=self.model,
            embeddings=Embeddings(self.context, self.model),
            materials=self.materials,
            sampling=Sampling(recipe.steps, recipe.guidance_scale, recipe.deterministic),
            protected_manifest_uri=self.protected_manifest_uri,
            checked=checked,
            job=self.job,
        )

    async def _attempt(
        self, maker: ShardMaker, slots: Sequence[Slot], output: Output, seen: Seen
    ) -> list[Slot]:
        """Makes and judges images in durable shards; returns the slots of those rejected.

        Shards are drafted when they are made and decided on in the order of the plan as soon as
        they are there, in threads: no more than what is in flight is held, and the event loop has
        no more to do for many images than for few.
        """
        size = self.context.settings.shard_size
        drafted: dict[int, list[Item]] = {}
        again: list[Slot] = []

        def draft(number: int) -> list[Item]:
            part = slots[number * size : (number + 1) * size]
            return self.plan.items(part, self.materials)

        async def make(number: int, shard: Shard) -> list[dict[str, Any]]:
            drafted[number] = await asyncio.to_thread(draft, number)
            outcomes = await maker.make(drafted[number], shard)
            if maker.watch.is_due():
                await self._remember(maker.watch.taken())
            return outcomes

        def decide(number: int, outcomes: Sequence[dict[str, Any]]) -> None:
            items = drafted.pop(number, None) or draft(number)  # A recorded shard was not drafted.
            for item, values in zip(items, outcomes, strict=True):
                if not self._decide(item, from_plain(values), output, seen):
                    again.append(item.slot)

        async def use(number: int, outcomes: Sequence[dict[str, Any]]) -> None:
            await asyncio.to_thread(decide, number, outcomes)
            self.progress.advance(len(outcomes))

        self.progress.start("generate", len(slots), "images")
        await steps_in_order(
            "generate",
            -(-len(slots) // size),
            make,
            begin=Flow(self.context.clients, size).begin,
            use=use,
        )
        return again

    def _can_start(self, material: ClassMaterial) -> bool:
        needs = self.plan.method.needs
        if needs.prompt_strategy and not material.prompts:
            return False
        return bool(material.parents) or not (needs.captions or needs.image_embeddings)

    def _decide(self, item: Item, outcome: Outcome, output: Output, seen: Seen) -> bool:
        """Accepts or rejects one item; copies count in the order of the plan."""
        if outcome.reasons:
            reason, message = outcome.reasons[0], outcome.message
            if reason == "FAILED":
                self.progress.fail(item.item_id, message)
            output.reject(self.plan, item, outcome, reason, message)
            return False
        if twin := seen.copy_of(item.slot.class_name, outcome):
            message = f"repeats the accepted item {twin}"
            output.reject(self.plan, item, outcome, "REPEATED", message)
            return False
        output.accept(self.plan, item, outcome, source="generated", model=self.model.name)
        return True

    def _give_up(self, output: Output) -> None:
        """Ends the work if not one image could be made: more attempts would fail alike."""
        first = output.first_rejected
        if first and all(reasons.keys() == {"FAILED"} for reasons in output.reasons.values()):
            raise Precondition(
                f"none of {output.rejected_count} images could be made; the first failed with "
                f"{first.message}",
                subject=first.item_id,
                reason="NOTHING_MADE",
            )

    def _shortfalls(self, output: Output) -> list[Shortfall]:
        wanted = self.plan.recipe.wanted
        made = output.made
        shortfalls = []
        for name, material in self.materials.items():
            if made[name] == wanted:
                continue
            reason = "the class has no training image to start from"
            if material.problem:
                reason = material.problem
            elif material.figures and not material.prompts:
                count = material.figures.failed_count
                reason = f"the language model failed to write any of {count} prompts"
            elif self._can_start(material):
                counts = ", ".join(f"{c} {why}" for why, c in output.reasons[name].most_common())
                reason = f"images were rejected in every attempt: {counts}"
            shortfalls.append(Shortfall(name, wanted, made[name], reason))
        return shortfalls
