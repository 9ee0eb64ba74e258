"""Queries of a search: texts, images and embeddings to unit vectors."""

from asyncio import to_thread
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from retriever.embedder import Embedder
from retriever.encoder import Vectors
from retriever.images import read_images
from retriever.library import IndexRecord
from servicekit.errors import InvalidArgument
from servicekit.storage import ObjectStore


@dataclass(frozen=True)
class TextQuery:
    """Finds images that show what the text says."""

    text: str


@dataclass(frozen=True)
class ImageQuery:
    """Finds images like this one."""

    image_uri: str


@dataclass(frozen=True)
class EmbeddingQuery:
    """Finds images near a vector: little-endian float32 bytes of `encoder`."""

    data: bytes
    encoder: str


Query = TextQuery | ImageQuery | EmbeddingQuery


async def embed_queries(
    queries: Sequence[Query], record: IndexRecord, embedder: Embedder, store: ObjectStore
) -> Vectors:
    """Returns one unit vector per query, in order, [q, d].

    Raises InvalidArgument for an embedding that is not one of the index's encoder, and what
    reading an image raises; `record` says what the index was built with.
    """
    vectors = np.zeros((len(queries), record.dimension), np.float32)
    of_texts = [index for index, query in enumerate(queries) if isinstance(query, TextQuery)]
    of_images = [index for index, query in enumerate(queries) if isinstance(query, ImageQuery)]
    for index, query in enumerate(queries):
        if isinstance(query, EmbeddingQuery):
            vectors[index] = check_embedding(query, record, f"queries[{index}].embedding")
    if of_texts:
        texts = [query.text for query in queries if isinstance(query, TextQuery)]
        vectors[of_texts] = await embedder.embed_texts(texts)
    if of_images:
        uris = [query.image_uri for query in queries if isinstance(query, ImageQuery)]
        fields = [f"queries[{index}].image_uri" for index in of_images]
        read = await to_thread(read_images, store, uris, fields)
        vectors[of_images] = await embedder.embed_images([one.image for one in read])
    return vectors


def check_embedding(query: EmbeddingQuery, record: IndexRecord, field: str) -> Vectors:
    """Returns the embedding [d], scaled to unit length.

    Raises InvalidArgument if it is of another encoder or length, or has no direction.
    """
    if query.encoder != record.encoder:
        raise InvalidArgument(
            f"{field} is of the encoder {query.encoder}, but {record.name} was built with "
            f"{record.encoder}; embed the query with EmbedTexts or EmbedImages",
            field=field,
            reason="ENCODER_MISMATCH",
            metadata={"embedding_encoder": query.encoder, "index_encoder": record.encoder},
        )
    if len(query.data) != 4 * record.dimension:
        raise InvalidArgument(
            f"{field} has {len(query.data)} bytes, but a vector of {record.name} has "
            f"{record.dimension} float32 values, {4 * record.dimension} bytes",
            field=field,
            reason="DIMENSION_MISMATCH",
            metadata={"index_dimension": str(record.dimension)},
        )
    vector = np.frombuffer(query.data, "<f4").astype(np.float64)
    length = float(np.linalg.norm(vector))
    if not np.isfinite(vector).all() or not 0 < length < np.inf:
        raise InvalidArgument(
            f"{field} of the encoder {query.encoder} holds NaN, infinite or only zero values; "
            f"{record.name} needs {record.dimension} finite ones",
            field=field,
            reason="NOT_FINITE",
        )
    return (vector / length).astype(np.float32)
