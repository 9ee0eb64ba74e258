"""Settings of the retriever; each field is the environment variable RETRIEVER_FIELD."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RetrieverSettings:
    """What the retriever loads and how much it does at once."""

    # Folder of an open_clip model: open_clip_config.json, open_clip_model.safetensors, tokenizer.
    clip: Path = Path("models/nano/clip")
    # "cpu", "cuda", "cuda:1" ...; "auto" takes a GPU where there is one.
    device: str = "auto"
    # Texts or images in one pass through CLIP.
    max_batch: int = 32
    # Longest that a lone text or image waits for company.
    max_wait_ms: float = 4.0
    # Most texts and images that wait; more are refused with RESOURCE_EXHAUSTED.
    max_queue: int = 1024
    # What searches new pools: "faiss", or "milvus" for pools that outgrow one machine.
    index: str = "faiss"
    # Address of Milvus, for example http://milvus:19530; a path ending in .db is Milvus Lite.
    milvus: str = ""
    # Pools with more images than this get an approximate index, smaller ones an exact one.
    flat_limit: int = 50_000
    # Folder of the files that loaded indexes are mapped from; it may be lost at any time.
    cache: Path = Path(".variegate/retriever")
    # Images of a pool that are embedded and stored at a time; a lost process costs one shard.
    shard_size: int = 512
    # Loaded indexes that are kept in memory.
    loaded_indexes: int = 4
    # Threads of one vector search (as many run at once as there are cores), and of the safety
    # classifier.
    search_threads: int = 1
    safety_threads: int = 1
