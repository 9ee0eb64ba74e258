"""Packed and compressed files that people give as images: none is read, all are told."""

import shlex

# By the end of the name, longer ends first: what it is, and the command that unpacks it.
_TAR = "mkdir {folder} && tar -xf {name} -C {folder}"
_KINDS = {
    ".tar.gz": ("a compressed .tar", _TAR),
    ".tar.bz2": ("a compressed .tar", _TAR),
    ".tar.xz": ("a compressed .tar", _TAR),
    ".tar.zst": ("a compressed .tar", _TAR),
    ".tgz": ("a compressed .tar", _TAR),
    ".tbz2": ("a compressed .tar", _TAR),
    ".txz": ("a compressed .tar", _TAR),
    ".zip": ("a zip archive", "unzip {name} -d {folder}"),
    ".7z": ("a 7z archive", "7z x {name} -o{folder}"),
    ".rar": ("a RAR archive", "unrar x {name} {folder}/"),
    ".gz": ("a compressed file", "gunzip --keep {name}"),
}


def packed(path: str) -> tuple[str, str] | None:
    """Returns what a packed file is and the command that unpacks it; None for all other files."""
    lower = path.lower()
    suffix = next((one for one in _KINDS if lower.endswith(one)), None)
    if suffix is None:
        return None
    what, command = _KINDS[suffix]
    quoted = {"name": shlex.quote(path), "folder": shlex.quote(path[: -len(suffix)])}
    return what, command.format(**quoted)
