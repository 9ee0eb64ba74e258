"""Looks images up in a pool instead of making them (BURG, retrieval)."""

import asyncio
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from gateway.api.resources import Shortfall
from gateway.augment.claims import Claim, Claims, share_out
from gateway.augment.method_outcome import MethodOutcome
from gateway.augment.outcomes import NOT_CHECKED_UNSAFE, Outcome, retrieved
from gateway.augment.output import Counts, Output
from gateway.augment.parts import Source
from gateway.augment.pictures import ENDING, seen_below, to_bytes
from gateway.augment.rejections import BY_PERSON, MESSAGE, read_rejections
from gateway.augment.searched import Searched
from gateway.augment.shards import shown_text
from gateway.clients.retriever import HITS_PER_SEARCH, Hit, PoolIndex
from gateway.clients.verdicts import Candidate
from gateway.context import Context
from gateway.digests import Plain
from gateway.durable.progress import WorkProgress
from gateway.durable.steps import AtMost, in_order, step
from gateway.methods.base import ClassMaterial, Slot
from gateway.plan import Item, Plan
from servicekit.together import together

# k is 1.4 times what is wanted, and grows to six times that.
MARGIN, GROWTH = 1.4, 6
# Of pools that have a column of aesthetic scores.
LEAST_AESTHETIC = 5.0
# Images that are screened in a call, and whose outcomes are written at a time.
_SHARD, _BLOCK = 64, 512
# Rows that are written at a time.
_PART = 2048

# What became of images, by URI: the fields of an Outcome. Tuples of texts and numbers are of no
# interest to the garbage collector, which would visit some hundred thousand objects at a time.
Judged = dict[str, tuple[Any, ...]]


@dataclass(frozen=True)
class Searching:
    """The work of one method of an augmentation, which retrieves images."""

    context: Context
    plan: Plan
    materials: Mapping[str, ClassMaterial]
    protected_manifest_uri: str
    progress: WorkProgress
    folder: str  # Of the store, for what is chosen.

    before: Sequence[str] = ()  # The folders of other methods, whose pictures it does not repeat.

    async def run(self) -> MethodOutcome:
        """Returns what was found, and the classes that did not reach their number."""
        index = PoolIndex(**await step("index", self._index))
        # One step, since what is found and judged is in the store, block by block.
        found = await step("retrieve", lambda: self._retrieve(index))
        counts = Counts.from_plain(found["counts"])
        shortfalls = self._shortfalls(counts, found["searched"], index.left_out)
        return MethodOutcome(found["folder"], counts, shortfalls)

    async def _retrieve(self, index: PoolIndex) -> dict[str, Any]:
        """Searches, judges and chooses, ever further; goes on with what is in the store.

        Returns where the chosen images are, and how many of the pool were looked at for a class.
        """
        plan, store = replace(self.plan, model_digest=index.digest), self.context.store
        judged: Judged = {}
        wanted = {name: plan.wanted(material) for name, material in self.materials.items()}
        most = min(index.image_count, HITS_PER_SEARCH)
        for growth in range(1, GROWTH + 1):
            folder = f"{self.folder}/{growth}"
            count = min(math.ceil(MARGIN * max(wanted.values(), default=0) * growth), most)
            searched = await asyncio.to_thread(Searched.below, store, folder)
            hits = await self._search(index, count, searched)
            claims = await asyncio.to_thread(share_out, hits, self._labels())
            await self._judge(claims, judged, searched)
            output = await asyncio.to_thread(self._choose, plan, index, claims, judged, folder)
            if output.counts.accepted_count == sum(wanted.values()) or count == most:
                break
        return {"folder": folder, "searched": count, "counts": output.counts.to_plain()}

    async def _index(self) -> dict[str, Any]:
        pool_uri = self.plan.recipe.pool_uri
        index = await self.context.clients.retriever.index(
            pool_uri, lambda done, total: self.progress.set("index", done, total, "images")
        )
        return vars(index)

    def _labels(self) -> dict[str, int]:
        return {name: material.label for name, material in self.materials.items()}

    async def _search(
        self, index: PoolIndex, count: int, searched: Searched
    ) -> dict[str, list[Hit]]:
        least = LEAST_AESTHETIC if index.has_aesthetic else None
        materials = [material for material in self.materials.values() if material.prompts]
        found: dict[str, list[Hit]] = {}

        async def search(material: ClassMaterial, _: object) -> list[Hit]:
            known = await asyncio.to_thread(searched.hits, material.label)
            if known is not None:
                return known
            hits = await self.context.clients.retriever.search(
                index.name, material.prompts[0], count, least_aesthetic=least
            )
            await asyncio.to_thread(searched.put_hits, material.label, hits)
            return hits

        async def use(number: int, hits: list[Hit]) -> None:
            found[materials[number].class_name] = hits
            self.progress.advance()

        self.progress.start("retrieve", len(materials), "classes")
        # One at a time, so that no query shares a batch: equal queries get equal bits.
        await in_order(
            range(len(materials)),
            lambda number: partial(search, materials[number]),
            begin=AtMost(lambda: 1).begin,
            use=use,
        )
        return found

    async def _judge(self, claims: Claims, judged: Judged, searched: Searched) -> None:
        """Screens the claimed images that were not judged before, in blocks.

        Where an image of the safety sample is rejected, the one that takes its place is checked.
        """
        capacity = self.context.clients.screener.replicas.capacity
        room = AtMost(lambda: 2 * capacity())
        ahead = AtMost(lambda: 1 + -(-2 * capacity() * _SHARD // _BLOCK))
        for turn in itertools.count():
            if not (fresh := await asyncio.to_thread(self._fresh, claims, judged)):
                return
            blocks = [
                (safety, group[first : first + _BLOCK])
                for safety, group in fresh.items()
                for first in range(0, len(group), _BLOCK)
            ]
            self.progress.start("filter", sum(map(len, fresh.values())), "images")
            judge = partial(self._judge_block, searched, room, turn)
            await in_order(
                range(len(blocks)),
                lambda number, judge=judge, blocks=blocks: partial(  # type: ignore[misc]
                    judge, number, *blocks[number]
                ),
                begin=ahead.begin,
                use=partial(self._note, judged),
            )

    async def _judge_block(
        self,
        searched: Searched,
        room: AtMost,
        turn: int,
        number: int,
        safety: bool,
        block: Sequence[Claim],
        _: object,
    ) -> list[Outcome]:
        known = await asyncio.to_thread(searched.outcomes, turn, number)
        if known is not None:
            return known
        shards = [block[first : first + _SHARD] for first in range(0, len(block), _SHARD)]
        parts = await together(self._screen(room, safety, shard) for shard in shards)
        outcomes = [outcome for part in parts for outcome in part]
        await asyncio.to_thread(searched.put_outcomes, turn, number, outcomes)
        return outcomes

    async def _note(self, judged: Judged, number: int, outcomes: Sequence[Outcome]) -> None:
        """Notes what became of the images of a block."""
        for outcome in outcomes:
            judged[outcome.image_uri] = tuple(vars(outcome).values())
        self.progress.advance(len(outcomes))

    def _fresh(self, claims: Claims, judged: Judged) -> dict[bool, list[Claim]]:
        """Returns what is still to be screened, by whether that includes its safety."""
        fresh: dict[bool, list[Claim]] = {}
        sample = self._checked_per_class()
        for name, hits in claims.items():
            rank = 0  # Among those that were not rejected.
            for hit in hits:
                known = _outcome(judged, hit)
                if known is not None and known.reasons:
                    continue
                safety = rank < sample
                rank += 1
                if known is None or (safety and known.unsafe_score == NOT_CHECKED_UNSAFE):
                    fresh.setdefault(safety, []).append((name, hit))
        return fresh

    def _checked_per_class(self) -> int:
        """Returns how many of the nearest images of each class are checked for safety."""
        recipe = self.plan.recipe
        if recipe.check_safety:
            return HITS_PER_SEARCH
        return math.ceil(recipe.safety_sample / max(len(self.materials), 1))

    async def _screen(self, room: AtMost, safety: bool, shard: Sequence[Claim]) -> list[Outcome]:
        candidates = [
            Candidate(hit.image_uri, shown_text(self.materials[name].display_name))
            for name, hit in shard
        ]
        with await room.begin():
            verdicts = await self.context.clients.screener.screen(
                candidates,
                protected_manifest_uri=self.protected_manifest_uri,
                max_unsafe_score=self.context.settings.max_unsafe_score if safety else None,
            )
        return [retrieved(hit, one) for (_, hit), one in zip(shard, verdicts, strict=True)]

    def _choose(
        self, plan: Plan, index: PoolIndex, claims: Claims, judged: Judged, folder: str
    ) -> Output:
        """Takes the first survivors of each class, nearest first."""
        store = self.context.store
        output = Output(store, Source(folder), decided=self.progress.decided)
        seen = seen_below(store, self.before)
        pictures: list[dict[str, Any]] = []
        parts = itertools.count()

        def put() -> None:
            number = next(parts)
            output.put(0, number)
            store.put(f"{folder}/0/{number:06}{ENDING}", to_bytes(pictures, {}), overwrite=True)
            pictures.clear()

        rejections = read_rejections(store, plan.recipe.rejections_uri)
        for name in sorted(claims, key=self._labels().__getitem__):
            taken = 0
            for rank, hit in enumerate(claims[name]):
                if taken == plan.wanted(self.materials[name]):
                    break
                item = self._item(plan, index, name, taken, rank, hit)
                outcome = replace(Outcome(*judged[hit.image_uri]), item_id=item.item_id)
                if outcome.reasons:
                    output.reject(plan, item, outcome, outcome.reasons[0], outcome.message)
                elif item.item_id in rejections:
                    output.reject(plan, item, outcome, BY_PERSON, MESSAGE)
                elif twin := seen.copy_of(name, outcome):
                    message = f"repeats the accepted item {twin}"
                    output.reject(plan, item, outcome, "REPEATED", message)
                else:
                    known = replace(outcome, model_digest=index.digest)
                    output.accept(plan, item, known, source="retrieved", model=index.encoder)
                    pictures.append({"class_name": name, **vars(known)})
                    taken += 1
                if output.newest_count == _PART:
                    put()
        put()
        return output

    def _item(
        self, plan: Plan, index: PoolIndex, name: str, number: int, rank: int, hit: Hit
    ) -> Item:
        material = self.materials[name]
        slot = Slot(name, material.label, number, 0, 0)
        draft = plan.method.draft(slot, material, plan.values)
        lineage: dict[str, Plain] = {
            "method": plan.method.id,
            "display_name": material.display_name,
            "parameters": dict(plan.values),
            "dataset": plan.dataset_digest,
            "pool_uri": plan.recipe.pool_uri,
            "index": index.digest,
            "rank": rank,
            "similarity": hit.similarity,
            "caption": hit.caption,
            **draft.lineage,
        }
        item_id = plan.item_id(name, (), draft.prompt, 0, hit.sha256)
        return Item(item_id, slot, (), draft.prompt, None, None, lineage)

    def _shortfalls(self, counts: Counts, count: int, left_out: str) -> list[Shortfall]:
        made = counts.made
        reason = f"of the {count} nearest images of the pool no others passed the filters"
        reason += f"; {left_out}" if left_out else ""
        return [
            Shortfall(name, self.plan.kept(material), made[name], material.problem or reason)
            for name, material in self.materials.items()
            if made[name] < self.plan.kept(material)
        ]


def _outcome(judged: Judged, hit: Hit) -> Outcome | None:
    return Outcome(*judged[hit.image_uri]) if hit.image_uri in judged else None
