"""Translates between protos and the retriever's own values."""

from collections.abc import Iterable, Sequence

import numpy as np
from variegate.retriever.v1 import retriever_pb2 as pb

from retriever.building import BuildProgress
from retriever.dropping import DropPolicy
from retriever.encoder import Vectors
from retriever.library import BrokenShard, IndexRecord
from retriever.metadata import Between, Condition, Containing, Filter, OneOf
from retriever.pool.tally import LeftOutFiles
from retriever.queries import EmbeddingQuery, ImageQuery, Query, TextQuery
from retriever.screening import Candidate, Policy, Verdict
from retriever.searching import Found
from retriever.tables import NUMBER
from servicekit.errors import InvalidArgument

# What the proto promises for scores that were not asked for.
_NO_UNSAFE_SCORE, _NO_CLIP_SCORE = -1.0, -2.0
_MOST_SHARDS, _MOST_REASONS, _LONGEST = 100, 100, 1024


def to_embeddings(vectors: Vectors, encoder: str) -> list[pb.Embedding]:
    """Returns one message per row of [n, d]."""
    rows = np.ascontiguousarray(vectors, "<f4")
    return [pb.Embedding(data=row.tobytes(), encoder=encoder) for row in rows]


def to_index(record: IndexRecord) -> pb.Index:
    """Returns the resource."""
    return pb.Index(
        name=record.name,
        pool_uri=record.pool_uri,
        image_count=record.image_count,
        encoder=record.encoder,
        dimension=record.dimension,
        kind=record.kind,
        digest=record.digest,
        columns=[
            pb.Column(
                name=name,
                kind=pb.Column.KIND_NUMBER if kind == NUMBER else pb.Column.KIND_TEXT,
            )
            for name, kind in sorted(record.columns.items())
        ],
        broken_shards=_shards(record.broken_shards),
        left_out=_left_out(record.left_out),
    )


def _shards(broken: Sequence[BrokenShard]) -> list[pb.BrokenShard]:
    return [pb.BrokenShard(**vars(one)) for one in broken[:_MOST_SHARDS]]


def _left_out(found: Iterable[LeftOutFiles]) -> list[pb.LeftOutFiles]:
    return [
        pb.LeftOutFiles(reason=one.reason, file_count=one.count, example=one.example[:_LONGEST])
        for one in sorted(found, key=lambda one: (-one.count, one.reason))[:_MOST_REASONS]
    ]


def to_metadata(progress: BuildProgress) -> pb.CreateIndexMetadata:
    """Returns the metadata of a running CreateIndex."""
    return pb.CreateIndexMetadata(
        done_count=progress.done_count,
        total_count=progress.total_count,
        failed_count=progress.failed_count,
        broken_shards=_shards(progress.broken_shards),
        left_out=_left_out(progress.left_out.values()),
    )


def from_queries(queries: Iterable[pb.Query]) -> list[Query]:
    """Returns the queries; validation has seen that each has exactly one kind."""
    return [_query(query) for query in queries]


def _query(query: pb.Query) -> Query:
    match query.WhichOneof("query"):
        case "text":
            return TextQuery(query.text)
        case "image_uri":
            return ImageQuery(query.image_uri)
        case _:
            return EmbeddingQuery(query.embedding.data, query.embedding.encoder)


def from_filters(filters: Iterable[pb.Filter]) -> list[Filter]:
    """Returns the filters; validation has seen that each has a condition."""
    return [
        Filter(one.column, _condition(one, f"filters[{number}]"), f"filters[{number}]")
        for number, one in enumerate(filters)
    ]


def _condition(one: pb.Filter, field: str) -> Condition:
    match one.WhichOneof("condition"):
        case "between":
            ends = [
                getattr(one.between, name) if one.between.HasField(name) else None
                for name in ("least", "most")
            ]
            if any(end != end for end in ends):
                raise InvalidArgument(
                    f"{field}.between has an end that is not a number",
                    field=f"{field}.between",
                    reason="NOT_FINITE",
                )
            return Between(*ends)
        case "one_of":
            return OneOf(tuple(one.one_of.texts))
        case _:
            return Containing(one.containing)


def from_drop(message: pb.DropPolicy) -> DropPolicy:
    """Returns the policy; what is unset takes DropPolicy's default."""
    names = ("max_duplicate_distance", "max_unsafe_score")
    return DropPolicy(
        protected_manifest_uri=message.protected_manifest_uri,
        repeats=message.repeats,
        **{name: getattr(message, name) for name in names if message.HasField(name)},
    )


def to_results(results: Sequence[Found]) -> pb.SearchImagesResponse:
    """Returns the hits of each query."""
    return pb.SearchImagesResponse(
        results=[
            pb.HitList(
                hits=[pb.Hit(**vars(hit)) for hit in found.hits],
                drops=[
                    pb.Drop(reason=drop.reason, split=drop.split, count=count)
                    for drop, count in found.drops.items()
                ],
                searched_count=found.searched_count,
            )
            for found in results
        ]
    )


def from_screening(request: pb.ScreenImagesRequest) -> tuple[list[Candidate], Policy]:
    """Returns the candidates and the policy; what is unset takes Policy's default."""
    candidates = [Candidate(one.image_uri, one.text) for one in request.candidates]
    given = {
        name: getattr(request.policy, name)
        for name in ("min_clip_score", "max_unsafe_score", "max_duplicate_distance")
        if request.policy.HasField(name)
    }
    return candidates, Policy(protected_manifest_uri=request.protected_manifest_uri, **given)


def to_verdict(verdict: Verdict) -> pb.Verdict:
    """Returns the verdict on one candidate."""
    finding, subject = verdict.finding, verdict.subject
    unsafe, clip = finding.unsafe_score, finding.clip_score
    return pb.Verdict(
        accepted=verdict.accepted,
        reasons=finding.reasons,
        unsafe_score=_NO_UNSAFE_SCORE if unsafe is None else unsafe,
        clip_score=_NO_CLIP_SCORE if clip is None else clip,
        pixel_sha256=subject.pixel_sha256 if subject else "",
        perceptual_hash=subject.perceptual_hash if subject else 0,
        duplicate_of_uri=finding.duplicate_of_uri or "",
        duplicate_of_split=finding.duplicate_of_split or "",
    )
