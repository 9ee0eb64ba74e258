"""The oracle rows of a study: their pool, their images, how long those took and what is said."""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from gateway.api.resources import Dataset, Study
from gateway.context import Context
from gateway.durable.progress import WorkProgress
from gateway.durable.steps import step
from gateway.study.first_images import write_first
from gateway.study.oracle import IndexedPool, look_at_pool, make_oracle
from servicekit.storage import to_uri


@dataclass
class OracleRows:
    """Draws pool images with their own labels, once for each seed. Filled as it goes.

    `datasets` are those of the seeds: no image is a copy of one of its seed's.
    """

    context: Context
    study: Study
    datasets: Mapping[int, Dataset]
    progress: WorkProgress
    notes: list[str] = field(default_factory=list)
    # Of the images, by seed and stage.
    seconds: dict[int, dict[str, float]] = field(default_factory=dict)
    _pool: IndexedPool | None = None
    _drawn: dict[int, str] = field(default_factory=dict)

    async def look(self) -> bool:
        """Indexes the pool, if there is one, and says whether it gives oracle rows."""
        if not (uri := self.study.pool_uri):
            return False

        async def look() -> dict[str, Any]:
            dataset = self.datasets[self.study.seeds[0]]  # All have the same classes.
            pool = await look_at_pool(self.context, dataset, self.study, self.progress)
            return asdict(pool)

        pool = self._pool = IndexedPool(**await step("pool", look))
        if pool.left_out:
            self.notes.append(f"{pool.left_out[0].upper()}{pool.left_out[1:]}.")
        if pool.is_numbered:
            self.notes.append(
                f"There is no oracle row: the pool {uri} numbers its classes, and numbers of one "
                "data set say nothing in another. Give it the names: a column class_name, the "
                "schema metadata that Hugging Face's datasets write, or --pool-names FILE "
                "(pool_class_names)."
            )
        elif not pool.is_named:
            self.notes.append(
                f"There is no oracle row: the pool {uri} says of no image that it shows one of "
                "these classes. It would take that from a column class_name or label with the "
                "classes' names, from .cls or .json files, or from a folder per class."
            )
        return pool.is_named

    async def images(self, seed: int, count: int) -> str:
        """Returns the manifest of the first `count` images a class of a seed; "" for none."""
        if seed not in self._drawn:
            self._drawn[seed] = await self._draw(seed)
        uri = self._drawn[seed]
        if not uri or count == self.study.images_per_class:
            return uri
        key = f"{self.study.name}/oracle-{seed}-first-{count}.parquet"
        await asyncio.to_thread(write_first, self.context.store, uri, count, key)
        return to_uri(key)

    def whole(self, seed: int) -> str:
        """Returns the manifest of all images drawn for a seed; "" for none."""
        return self._drawn[seed]

    async def _draw(self, seed: int) -> str:
        self.progress.child = None
        self.progress.start("oracle", 1, "manifests")
        key, each = f"{self.study.name}/oracle-{seed}.parquet", self.study.images_per_class
        pool, dataset = self._pool, self.datasets[seed]
        assert pool is not None, "there is an oracle only with a pool"
        made = await step(
            "oracle", lambda: make_oracle(self.context, dataset, pool, each, seed, key)
        )
        # One index serves all seeds.
        index = {} if self.seconds else {"index": pool.seconds}
        self.seconds[seed] = {"oracle": made["seconds"], **index}
        wanted = each * len(dataset.classes)
        if made["count"] < wanted:
            self.notes.append(
                f"The oracle of seed {seed} has {made['count']} of {wanted} images: the pool has "
                "no more that are labelled with these classes and no copies."
            )
        return str(made["manifest_uri"]) if made["count"] else ""
