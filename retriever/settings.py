"""Settings of the retriever."""

from dataclasses import dataclass
from pathlib import Path

from servicekit.devices import DEVICES, MEANING
from servicekit.places import state_folder
from servicekit.settings import setting

_NANO = Path(__file__).resolve().parent.parent / "models" / "nano" / "clip"


@dataclass(frozen=True)
class RetrieverSettings:
    """What the retriever loads and how much it does at once. Each is RETRIEVER_... in the
    environment."""

    clip: Path = setting(
        _NANO,
        "Folder of an open_clip model: open_clip_config.json, open_clip_model.safetensors and its "
        "tokenizer.",
    )
    device: str = setting("auto", MEANING, limits=DEVICES)
    max_batch: int = setting(32, "Texts or images in one pass through CLIP.", least=1)
    max_wait_ms: float = setting(
        4.0,
        "Longest that a lone text or image waits for others to batch with, in milliseconds.",
        least=0,
    )
    max_queue: int = setting(1024, "Most texts and images that wait; more are refused.", least=1)
    index: str = setting(
        "faiss",
        "What searches new pools; milvus is for pools that outgrow one machine.",
        choices=("faiss", "milvus"),
    )
    milvus: str = setting(
        "", "Address of Milvus, http://HOST:19530; a path ending in .db is Milvus Lite."
    )
    flat_limit: int = setting(
        50_000,
        "Pools with more images than this get an approximate index, smaller ones an exact one.",
        least=0,
    )
    cache: Path = setting(
        state_folder() / "retriever",
        "Folder of the files that loaded indexes are mapped from; it may be lost at any time.",
    )
    fingerprint_gigabytes: float = setting(
        10.0,
        "Most disk, in the cache, for fingerprints of data sets that must not be copied, 2.2 kB an "
        "image; those unused longest make room, those in use stay.",
        least=0,
    )
    shard_size: int = setting(
        512,
        "Images of a pool that are embedded and stored at a time; a lost process costs one shard.",
        least=1,
    )
    loaded_indexes: int = setting(4, "Loaded indexes that are kept in memory.", least=1)
    search_threads: int = setting(
        1, "Threads of one vector search; as many searches run at once as there are cores.", least=1
    )
    safety_threads: int = setting(1, "Threads of the safety classifier.", least=1)

    @property
    def fingerprint_bytes(self) -> int:
        """`fingerprint_gigabytes` in bytes."""
        return int(self.fingerprint_gigabytes * 1e9)
