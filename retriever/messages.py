"""Translates between protos and the retriever's own values."""

from collections.abc import Iterable, Sequence

import numpy as np
from variegate.retriever.v1 import retriever_pb2 as pb

from retriever.building import BuildProgress
from retriever.encoder import Vectors
from retriever.library import FoundImage, IndexRecord
from retriever.queries import EmbeddingQuery, ImageQuery, Query, TextQuery
from retriever.screening import Candidate, Policy, Verdict

# What the proto promises for scores that nobody asked for.
_NO_UNSAFE_SCORE, _NO_CLIP_SCORE = -1.0, -2.0


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
    )


def to_metadata(progress: BuildProgress) -> pb.CreateIndexMetadata:
    """Returns the metadata of a running CreateIndex."""
    return pb.CreateIndexMetadata(
        done_count=progress.done_count,
        total_count=progress.total_count,
        failed_count=progress.failed_count,
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


def to_results(results: Sequence[Sequence[FoundImage]]) -> pb.SearchImagesResponse:
    """Returns the hits of each query."""
    lists = [pb.HitList(hits=[_hit(found) for found in hits]) for hits in results]
    return pb.SearchImagesResponse(results=lists)


def _hit(found: FoundImage) -> pb.Hit:
    return pb.Hit(
        image_uri=found.image_uri,
        sha256=found.sha256,
        similarity=found.similarity,
        caption=found.caption,
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
