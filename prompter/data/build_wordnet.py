"""Writes wordnet_nouns.tsv.xz from WordNet 3.0's own files (wndb(5WN) describes their format).

    python -m prompter.data.build_wordnet /usr/share/wordnet prompter/data

On Debian and Ubuntu `apt-get install wordnet-base` installs the source files. Only nouns are kept:
lemmas, definitions, direct hypernyms, and the order of the senses of every word. The result is the
same, byte for byte, for the same source.
"""

import lzma
import sys
from pathlib import Path

_HYPERNYMS = {"@": "", "@i": "i"}  # WordNet's mark -> ours
FILE_NAME = "wordnet_nouns.tsv.xz"


def build(source: Path) -> bytes:
    """Returns the compressed table. Raises OSError if `source` has no data.noun and index.noun.

    Two sections follow each other, with an empty line between them. Synsets, in file order: offset
    (the number of an ImageNet id), lemmas joined by "|", definition, row numbers of the hypernyms
    joined by ",", where "i" before a number says that the synset is an instance of it. Words,
    sorted: the word in lower case with underscores, how many of its senses have a counted
    frequency, row numbers of its senses, the most frequent first.
    """
    parsed = [_synset(line) for line in _records(source / "data.noun")]
    row_of = {offset: row for row, (offset, _, _, _) in enumerate(parsed)}
    synsets = (
        "\t".join([offset, "|".join(lemmas), definition, _rows(hypernyms, row_of)])
        for offset, lemmas, definition, hypernyms in parsed
    )
    words = (_word(line, row_of) for line in _records(source / "index.noun"))
    text = "\n".join(synsets) + "\n\n" + "\n".join(words) + "\n"
    return lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME)


def _records(path: Path) -> list[str]:
    # The licence stands above the data in lines that begin with a space.
    lines = path.read_text(encoding="latin-1").splitlines()
    return [line for line in lines if line and not line.startswith(" ")]


def _synset(line: str) -> tuple[str, list[str], str, list[tuple[str, str]]]:
    data, _, gloss = line.partition(" | ")
    fields = data.split()
    lemma_count = int(fields[3], 16)
    lemmas = fields[4 : 4 + 2 * lemma_count : 2]
    pointers = fields[5 + 2 * lemma_count :]
    hypernyms = [
        (_HYPERNYMS[pointers[i]], pointers[i + 1])
        for i in range(0, len(pointers) - 3, 4)
        if pointers[i] in _HYPERNYMS
    ]
    return fields[0], lemmas, _definition(gloss), hypernyms


def _rows(hypernyms: list[tuple[str, str]], row_of: dict[str, int]) -> str:
    return ",".join(f"{mark}{row_of[offset]}" for mark, offset in hypernyms)


def _definition(gloss: str) -> str:
    # A gloss is a definition, then examples in quotation marks.
    return gloss.partition('; "')[0].strip().replace("\t", " ")


def _word(line: str, row_of: dict[str, int]) -> str:
    fields = line.split()
    sense_count = int(fields[2])
    counted = fields[-sense_count - 1]
    rows = ",".join(str(row_of[offset]) for offset in fields[-sense_count:])
    return f"{fields[0]}\t{counted}\t{rows}"


def main() -> None:
    """Builds the file."""
    if len(sys.argv) != 3:
        raise SystemExit("usage: python -m prompter.data.build_wordnet WORDNET_FOLDER OUT_FOLDER")
    target = Path(sys.argv[2]) / FILE_NAME
    target.write_bytes(build(Path(sys.argv[1])))
    print(f"wrote {target}, {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
