"""What a choice among more images than wanted did: to the score, and to how diverse they are."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import partial
from itertools import chain

import pyarrow as pa
import pyarrow.compute as pc

from gateway.api.resources import KeptImages
from gateway.augment.diversity import mean_distance
from gateway.augment.output import Output
from gateway.augment.recognising import sample_of_class
from gateway.augment.tables import lowest_of_classes
from gateway.context import Context
from gateway.durable.progress import WorkProgress
from gateway.durable.steps import AtMost, steps

Samples = Mapping[str, list[str]]


async def look_at_kept(
    context: Context, output: Output, score: str, unkept_uri: str, progress: WorkProgress
) -> KeptImages:
    """Compares what was kept with all that was made, and says so.

    The distance is the mean cosine distance of all pairs of images of a class in CLIP's space, 0 to
    2, and the mean of that over the classes, on a sample of each.
    """
    made, kept = await asyncio.to_thread(_samples, output)
    progress.start("diversity", len(kept), "classes")

    async def look(name: str) -> list[float]:
        uris = sorted({*made[name], *kept[name]})
        vectors = await context.clients.screener.embed_images(uris)
        row = {uri: number for number, uri in enumerate(uris)}
        return [mean_distance(vectors[[row[uri] for uri in one[name]]]) for one in (made, kept)]

    names = [name for name in kept if len(kept[name]) > 1]
    screeners = context.clients.screener.replicas
    found = await steps(
        "diversity",
        [partial(look, name) for name in names],
        begin=AtMost(lambda: 2 * screeners.ready_count()).begin,
        done=lambda number, _: progress.advance(),
    )
    both = [sum(one) / len(found) for one in zip(*found, strict=True)] if found else [0.0, 0.0]
    accepted, left = await asyncio.to_thread(_scores, output, score)
    count = accepted[0] + left[0]
    facts = KeptImages(
        score,
        made_count=count,
        kept_count=accepted[0],
        unkept_uri=unkept_uri,
        made_score=(accepted[1] + left[1]) / max(count, 1),
        kept_score=accepted[1] / max(accepted[0], 1),
        made_distance=both[0],
        kept_distance=both[1],
    )
    progress.notice(sentence(facts))
    return facts


def sentence(facts: KeptImages) -> str:
    """Returns what people read of a choice."""
    change = ""
    if facts.made_distance:
        change = f" ({100 * (facts.kept_distance / facts.made_distance - 1):+.1f} %)"
    return (
        f"of {facts.made_count:,} images made {facts.kept_count:,} are kept by {facts.score}: its "
        f"mean goes from {facts.made_score:.3f} to {facts.kept_score:.3f}, and the mean CLIP "
        f"distance of two images of a class from {facts.made_distance:.3f} to "
        f"{facts.kept_distance:.3f}"
        f"{change}"
    )


def _samples(output: Output) -> tuple[Samples, Samples]:
    """Returns URIs of images of each class: of all that were made, and of those that are kept."""
    columns = ("class_name", "item_id", "image_uri")
    count = sample_of_class(len(output.counts.made))
    every = chain(output.accepted(*columns), output.unkept(*columns))
    return _lowest(every, count), _lowest(output.accepted(*columns), count)


def _lowest(tables: Iterable[pa.Table], count: int) -> Samples:
    found: dict[str, list[str]] = defaultdict(list)
    table = lowest_of_classes(tables, count)
    for row in table.to_pylist() if table else ():
        found[row["class_name"]].append(row["image_uri"])
    return found


def _scores(output: Output, score: str) -> list[tuple[int, float]]:
    """Returns number and sum of the scores of what is kept, and of what is not."""
    found = []
    for tables in (output.accepted(score), output.unkept(score)):
        sums = [(len(one), float(pc.sum(one.column(score)).as_py() or 0.0)) for one in tables]
        found.append((sum(count for count, _ in sums), sum(total for _, total in sums)))
    return found
