"""How often photographs tell which sense of a name is meant, and how often that is wrong.

Run it with `python -m benchmarks.senses`. Every noun of WordNet that has several senses, one of
them a kind of a class of the shipped test photographs, names those photographs. `known`: the right
sense's text has a word of the captions that the nano CLIP learned; of `unknown` ones it can only
guess, and should say so. Where the photographs do not tell, the commonest sense is used, which may
be the right one. The ratio is the share of clear choices of known names that are right.
"""

import json
import lzma
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pyarrow.parquet as pq

from gateway.augment.senses import Array, Sense, choose
from imaging.decode import decode_image
from models.nano.recipe.captions import LEMMAS
from prompter.meanings import scored_text
from prompter.wordnet import NOUNS, WordNet
from prompter.wordnet import Sense as WordNetSense
from retriever.encoder import ClipEncoder

NANO = Path(__file__).parents[1] / "models" / "nano"
SHOWN, MOST_SENSES = 32, 8
REQUIRED = 0.95
WORDS = {word for lemmas in LEMMAS.values() for lemma in lemmas for word in lemma.split()}


@dataclass(frozen=True)
class _Name:
    """A name, its senses, the right one, and the class whose photographs it is given."""

    name: str
    senses: list[WordNetSense]
    right: WordNetSense
    shown: str


def measure() -> dict[str, float]:
    """Returns, for known and unknown names, the shares right, wrong, unsure but right, and unsure
    and wrong."""
    clip = ClipEncoder(NANO / "clip")
    rows = pq.read_table(NANO / "demo" / "test.parquet").to_pylist()
    photos = {
        label: clip.encode_images(clip.prepare_images([decode_image(b) for b in of_class]))
        for label in LEMMAS
        if (of_class := [r["image"]["bytes"] for r in rows if r["class_name"] == label][:SHOWN])
    }
    found: Counter[str] = Counter()
    for one in _names(WordNet()):
        is_known = WORDS & set(re.findall(r"\w+", scored_text(one.name, one.right)))
        found[f"{'known' if is_known else 'unknown'}_{_outcome(one, clip, photos)}"] += 1
    known = sum(count for key, count in found.items() if key.startswith("known"))
    unknown = sum(found.values()) - known
    return {
        "ratio": found["known_right"] / (found["known_right"] + found["known_wrong"]),
        "required": REQUIRED,
        "known": known,
        "unknown": unknown,
        **{key: n / (known if key.startswith("known") else unknown) for key, n in found.items()},
    }


def _names(wordnet: WordNet) -> Iterator[_Name]:
    synsets, _, words = lzma.decompress(NOUNS.read_bytes()).decode().partition("\n\n")
    lines = [line.split("\t") for line in synsets.split("\n")]
    above = [[int(mark.lstrip("i")) for mark in line[3].split(",") if mark] for line in lines]
    meanings = {
        word: [int(row) for row in rows.split(",")]
        for word, _, rows in (line.split("\t") for line in words.splitlines())
    }
    roots = {
        meanings[word][int(number) - 1]: label
        for label, lemmas in LEMMAS.items()
        for word, _, number in [wordnet.senses(lemmas[0])[0].name.rpartition(".n.")]
    }

    @cache
    def classes(row: int) -> frozenset[str]:
        own = frozenset({roots[row]} if row in roots else ())
        return own.union(*(classes(parent) for parent in above[row]))

    for word, rows in meanings.items():
        kinds = [classes(row) for row in rows] if 2 <= len(rows) <= MOST_SENSES else []
        if sum(map(bool, kinds)) == 1 and len(shown := frozenset().union(*kinds)) == 1:
            at = next(number for number, kind in enumerate(kinds) if kind)
            if rows[at] not in roots:
                senses = wordnet.senses(word)
                right = next(sense for sense in senses if sense.definition == lines[rows[at]][2])
                yield _Name(word.replace("_", " "), senses, right, *shown)


def _outcome(one: _Name, clip: ClipEncoder, photos: dict[str, Array]) -> str:
    senses = [Sense(s.name, s.definition, scored_text(one.name, s)) for s in one.senses]
    texts = clip.encode_texts(clip.prepare_texts([sense.text for sense in senses]))
    others = [vectors for label, vectors in photos.items() if label != one.shown]
    choice = choose(senses, texts, photos[one.shown], others)
    is_right = "right" if choice.sense.name == one.right.name else "wrong"
    return f"unsure_{is_right}" if choice.ambiguous else is_right


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
