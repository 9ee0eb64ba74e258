"""Makes the images of an augmentation, shard by shard, until every filter is content."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from gateway.clients.generator import Sampling
from gateway.lengths import PromptLengths
from gateway.methods.base import ClassMaterial
from gateway.plan import Item, ModelInfo, Plan
from gateway.resources import Shortfall
from gateway.run.context import Context
from gateway.run.embeddings import Embeddings
from gateway.run.fitting import look_at_lengths
from gateway.run.outcomes import Outcome, from_plain
from gateway.run.output import Output
from gateway.run.progress import Progress
from gateway.run.seen import Seen
from gateway.run.shards import ShardMaker
from gateway.run.steps import steps
from servicekit.errors import Precondition

# Rounds after the first in which rejected images are replaced.
TOP_UPS = 5


@dataclass(frozen=True)
class Making:
    """The work of one augmentation whose method generates images."""

    context: Context
    plan: Plan
    model: ModelInfo
    materials: Mapping[str, ClassMaterial]
    protected_manifest_uri: str
    progress: Progress

    async def run(self) -> tuple[Output, list[Shortfall], PromptLengths]:
        """Returns what was made, the classes that did not reach their number, and what of their
        prompts is cut."""
        output, seen = Output(), Seen()
        ready = [m for m in self.materials.values() if self._can_start(m)]
        slots = self.plan.first_slots(ready)
        checked: frozenset[str] | None = None
        lengths = PromptLengths()
        reasons: dict[str, Counter[str]] = defaultdict(Counter)
        for attempt in range(1 + TOP_UPS):
            items = await asyncio.to_thread(self.plan.items, slots, self.materials)
            if attempt == 0:
                checked = self._checked(items)
                lengths = await look_at_lengths(self.context, self.model, items, self.progress)
            outcomes = await self._make(items, checked)
            again = []
            for item, outcome in zip(items, outcomes, strict=True):
                if not self._decide(item, outcome, output, seen):
                    again.append(item.slot)
                    reasons[item.slot.class_name][output.rejected[-1][1].reason] += 1
            if not output.accepted and again:
                self._give_up(output)
            slots = [self.plan.again(slot) for slot in again]
            if not slots:
                break
        return output, self._shortfalls(output, reasons), lengths

    def _can_start(self, material: ClassMaterial) -> bool:
        needs = self.plan.method.needs
        if needs.prompt_strategy and not material.prompts:
            return False
        return bool(material.parents) or not (needs.captions or needs.image_embeddings)

    def _checked(self, items: Sequence[Item]) -> frozenset[str] | None:
        recipe = self.plan.recipe
        if recipe.check_safety:
            return None
        ids = sorted(item.item_id for item in items)
        return frozenset(ids[: recipe.safety_sample])

    async def _make(self, items: Sequence[Item], checked: frozenset[str] | None) -> list[Outcome]:
        """Makes and judges items in durable shards, and returns the outcomes in order."""
        settings, recipe = self.context.settings, self.plan.recipe
        maker = ShardMaker(
            context=self.context,
            model=self.model,
            embeddings=Embeddings(self.context, self.model),
            materials=self.materials,
            sampling=Sampling(recipe.steps, recipe.guidance_scale, recipe.deterministic),
            protected_manifest_uri=self.protected_manifest_uri,
            checked=checked,
        )
        size = settings.shard_size
        shards = [items[first : first + size] for first in range(0, len(items), size)]
        self.progress.start("generate", len(items), "images")
        results = await steps(
            "generate",
            [partial(maker.make, shard) for shard in shards],
            # One shard more than the generator takes: it is screened while the others are made.
            in_flight=max(2, settings.items_in_flight // size + 1),
            done=lambda number, _: self.progress.advance(len(shards[number])),
        )
        return [from_plain(values) for shard in results for values in shard]

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
        first = output.rejected[0][1]
        if all(row.reason == "FAILED" for _, row in output.rejected):
            raise Precondition(
                f"none of {len(output.rejected)} images could be made; the first failed with "
                f"{first.message}",
                subject=first.item_id,
                reason="NOTHING_MADE",
            )

    def _shortfalls(self, output: Output, reasons: Mapping[str, Counter[str]]) -> list[Shortfall]:
        wanted = self.plan.recipe.images_per_class
        made = Counter(row.class_name for _, row in output.accepted)
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
                counts = ", ".join(f"{c} {why}" for why, c in reasons[name].most_common())
                reason = f"images were rejected in every attempt: {counts}"
            shortfalls.append(Shortfall(name, wanted, made[name], reason))
        return shortfalls
