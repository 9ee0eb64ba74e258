"""Packed and compressed files that people give as images: none is read, all are told."""

import shlex
from dataclasses import dataclass


@dataclass(frozen=True)
class _Kind:
    """How files are called and how they begin, and the command that unpacks them.

    In commands {0} is the path and {1} the folder. `tars` are suffixes of compressed tars.
    """

    what: str
    suffix: str
    marks: tuple[bytes, ...]
    command: str
    tars: tuple[str, ...] = ()


_BZIP2 = tuple(b"BZh%d" % level for level in range(1, 10))
_KINDS = (
    _Kind("a zip archive", ".zip", (b"PK\x03\x04", b"PK\x05\x06"), "unzip {0} -d {1}"),
    _Kind("a 7z archive", ".7z", (b"7z\xbc\xaf\x27\x1c",), "7z x {0} -o{1}"),
    _Kind("a RAR archive", ".rar", (b"Rar!\x1a\x07",), "mkdir {1} && unrar x {0} {1}/"),
    _Kind("compressed by gzip", ".gz", (b"\x1f\x8b",), "gunzip --keep {0}", (".tgz",)),
    _Kind("compressed by bzip2", ".bz2", _BZIP2, "bunzip2 --keep {0}", (".tbz2", ".tbz")),
    _Kind("compressed by xz", ".xz", (b"\xfd7zXZ\x00",), "unxz --keep {0}", (".txz",)),
    _Kind("compressed by Zstandard", ".zst", (b"\x28\xb5\x2f\xfd",), "unzstd {0}", (".tzst",)),
)
_TAR = ".tar"
_UNTAR = "mkdir {1} && tar -xf {0} -C {1}"
# How many of a file's first bytes tell what it is.
MARK_BYTES = 8


def packing_of(path: str, start: bytes = b"") -> str:
    """Returns what a packed file is and how to unpack it, as what follows its name; else "".

    `start` are its first bytes where they are known: what they say goes before the name. The
    command has the path as it is given.
    """
    lower = path.lower()
    kind = next((one for one in _KINDS if start.startswith(one.marks)), None) or next(
        (one for one in _KINDS if lower.endswith((one.suffix, *one.tars))), None
    )
    if kind is None:
        return ""
    stem = path[: -len(kind.suffix)] if lower.endswith(kind.suffix) else path.rpartition(".")[0]
    is_tar = bool(kind.tars) and lower.endswith((_TAR, _TAR + kind.suffix, *kind.tars))
    folder = stem[: -len(_TAR)] if stem.lower().endswith(_TAR) else stem
    command = (_UNTAR if is_tar else kind.command).format(
        shlex.quote(path), shlex.quote(folder or "unpacked")
    )
    what = f"a tar {kind.what}" if is_tar else kind.what
    return f"is {what}, which has to be unpacked first; unpack it ({command}) and give the result"
