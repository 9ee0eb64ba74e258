"""All kinds of objects that services write into the store: whose they are, and what keeps them.

Whoever writes objects of another kind adds a row here; the tests look at every store that they
fill. What is in the store and of no kind is somebody else's, such as images that people put there
to import, and nothing of ours deletes it.
"""

import re
from dataclasses import dataclass
from enum import Enum


class Keep(Enum):
    """What an object is needed for."""

    ASKED = "somebody asked for it by its name"
    NAMED = "kept while a kept object names it"
    WORK = "kept while the work that it belongs to is not finished"
    PARTS = "kept until the index that it is a part of is finished"
    SAVES_TIME = "made again where it is missing"


@dataclass(frozen=True)
class Kind:
    """A kind of objects: what people call it, the service that writes it, and a pattern of keys."""

    name: str
    owner: str
    keep: Keep
    pattern: re.Pattern[str]


_ID = r"[A-Za-z0-9_.=+@-]+"
_DIGEST = r"[0-9a-f]{64}"
# A digest of any length below a folder of its first two letters.
_SPREAD = r"([0-9a-f]{2})/\1[0-9a-f]+"

_TABLE: tuple[tuple[str, str, Keep, str], ...] = (
    ("datasets and augmentations", "gateway", Keep.ASKED, rf"datasets/{_ID}/.+"),
    ("studies", "gateway", Keep.ASKED, rf"studies/{_ID}/.+"),
    ("training runs", "trainer", Keep.ASKED, rf"trainingRuns/{_ID}/.+"),
    ("tunings", "trainer", Keep.ASKED, rf"tunings/{_ID}/.+"),
    ("policy searches", "trainer", Keep.ASKED, rf"policySearches/{_ID}/.+"),
    ("operations", "trainer and retriever", Keep.ASKED, rf"operations/{_ID}/{_ID}"),
    ("parts of indexes", "retriever", Keep.PARTS, rf"indexes/{_ID}/shards/.+"),
    ("indexes of pools", "retriever", Keep.ASKED, rf"indexes/{_ID}/.+"),
    ("imported images", "gateway and retriever", Keep.NAMED, rf"images/{_SPREAD}\.{_ID}"),
    ("generated images", "generator", Keep.NAMED, rf"generated/{_SPREAD}\.png"),
    ("pools", "gateway", Keep.NAMED, rf"pools/{_DIGEST}(\.|/\d+\.){_ID}"),
    ("lists of added images", "command line", Keep.NAMED, rf"synthetic/{_DIGEST}\.parquet"),
    ("lists of rejected images", "command line", Keep.NAMED, rf"rejections/{_DIGEST}\.parquet"),
    ("initial weights", "command line", Keep.NAMED, rf"weights/{_DIGEST}\.safetensors"),
    ("unfinished work", "gateway", Keep.WORK, r"work/(datasets|studies)/.+"),
    ("captions", "gateway", Keep.SAVES_TIME, rf"captions/{_SPREAD}\.json"),
    ("embeddings", "gateway", Keep.SAVES_TIME, rf"embeddings/{_SPREAD}\.npy"),
    ("recognitions", "gateway", Keep.SAVES_TIME, rf"recognised/{_SPREAD}\.json"),
    ("fingerprints", "retriever", Keep.SAVES_TIME, r"fingerprints/v\d+/[0-9a-f]+/\d+\.parquet"),
    ("rates", "gateway", Keep.SAVES_TIME, r"rates/[0-9a-f]+\.json"),
    ("training rates", "trainer", Keep.SAVES_TIME, rf"training-rates/{_DIGEST}\.json"),
)
KINDS = tuple(Kind(name, owner, keep, re.compile(text)) for name, owner, keep, text in _TABLE)


def kind_of(key: str) -> Kind | None:
    """Returns the kind of an object by its key; None if it is not ours."""
    return next((kind for kind in KINDS if kind.pattern.fullmatch(key)), None)
