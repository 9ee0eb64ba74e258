"""Which suffixes of file names mean what, in one table, whatever their case."""

from typing import Literal

Kind = Literal["image", "label", "notes", "caption", "other"]

# Images, in the order in which they are preferred where one key has several. All formats that
# people keep photographs in are here, also those that the decoder then refuses by their name.
IMAGES = (
    "jpg", "jpeg", "jpe", "jfif", "mpo", "png", "apng", "webp", "avif", "gif", "bmp", "dib", "tif",
    "tiff", "jp2", "jxl", "heic", "heif", "hif", "ppm", "pgm", "pbm", "pnm",
)  # fmt: skip
_KINDS: dict[str, Kind] = {
    **dict.fromkeys(IMAGES, "image"),
    "cls": "label",
    "json": "notes",
    "txt": "caption",
}

# Words before a suffix that mark the photograph of a key (00000.rgb.png), in order of preference.
PHOTOGRAPHS = ("image", "img", "rgb", "photo", "picture", "input")
# Words before a suffix that mark what belongs to the photograph and is none (00000.seg.png).
_BESIDES = frozenset(
    (
        "alpha", "annotation", "annotations", "bbox", "boxes", "canny", "depth", "disparity",
        "edge", "edges", "flow", "gt", "heatmap", "instance", "keypoints", "label", "labels",
        "mask", "masks", "matte", "normal", "normals", "panoptic", "pose", "saliency", "seg",
        "segmentation", "semantic", "target", "thumb", "thumbnail", "trimap",
    )
)  # fmt: skip

ARCHIVE, TABLE = "tar", "parquet"
# Tables that may name files and their classes.
_TEXT_TABLES = (".csv", ".tsv", ".jsonl")


def kind_of(suffix: str) -> Kind:
    """Returns what a suffix means; of a compound one such as "seg.png" the last part decides."""
    return _KINDS.get(suffix.lower().rpartition(".")[2], "other")


def is_image(name: str) -> bool:
    """Says whether a file is an image by its name."""
    return kind_of(name.rpartition("/")[2].rpartition(".")[2]) == "image" and "." in name


def is_archive(name: str) -> bool:
    """Says whether a file is a WebDataset shard by its name."""
    return name.lower().endswith(f".{ARCHIVE}")


def is_table(name: str) -> bool:
    """Says whether a file is a parquet file by its name."""
    return name.lower().endswith(f".{TABLE}")


def is_text_table(name: str) -> bool:
    """Says whether a file is a .csv, .tsv or .jsonl by its name."""
    return name.lower().endswith(_TEXT_TABLES)


def is_beside(suffix: str) -> bool:
    """Says whether a compound suffix marks something that belongs to a photograph: "seg.png"."""
    word, dot, _ = suffix.lower().rpartition(".")
    return bool(dot) and word in _BESIDES


def split_name(name: str, chosen: tuple[str, ...] = ()) -> tuple[str, str]:
    """Splits a path into key and suffix in lower case: "a/v1.0_0.PNG" -> "a/v1.0_0", "png".

    The suffix is the last part after a dot, and with it a word of the tables above before that
    ("00000.seg.png" -> "00000", "seg.png"), or one that the user named (`chosen`), whatever its
    dots. Dots elsewhere are part of the key. WebDataset's own convention ends the key at the first
    dot, which makes one key of v1.0_0.png and v1.0_1.png; how files are one sample although this
    rule gives them different keys is the business of `datafiles.samples`.
    """
    folder, slash, base = name.rpartition("/")
    for one in sorted(chosen, key=len, reverse=True):
        if base.lower().endswith(f".{one}") and len(base) > len(one) + 1:
            return folder + slash + base[: -len(one) - 1], one
    stem, dot, suffix = base.rpartition(".")
    if not dot or not stem:
        return name, ""
    suffix = suffix.lower()
    shorter, inner, word = stem.rpartition(".")
    known = word.lower() in _BESIDES or word.lower() in PHOTOGRAPHS
    if inner and shorter and known and kind_of(suffix) != "other":
        return folder + slash + shorter, f"{word.lower()}.{suffix}"
    return folder + slash + stem, suffix
