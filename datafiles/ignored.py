"""Files and folders that systems and programs put among images: part of no data set."""

# Compared without regard to case.
_NAMES = frozenset(
    name.casefold()
    for name in (
        # macOS, in archives and on foreign volumes; what begins with a dot is hidden anyway.
        "__MACOSX",
        "Icon\r",
        "Network Trash Folder",
        "Temporary Items",
        # Windows
        "$RECYCLE.BIN",
        "System Volume Information",
        "Thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        # Network storage: Synology, QNAP
        "@eaDir",
        "@tmp",
        "#recycle",
        "#snapshot",
        "@Recycle",
        "@Recently-Snapshot",
        "@__thumb",
        # Linux file systems
        "lost+found",
        # Python
        "__pycache__",
    )
)


def is_ignored(name: str) -> bool:
    """Says whether a file or folder of this name, one part of a path, is passed over.

    Hidden ones are (their name begins with a dot, such as .DS_Store, ._cat.jpg or
    .ipynb_checkpoints), lock files of office programs (~$), and those of the table above.
    """
    return name.startswith((".", "~$")) or name.casefold() in _NAMES


def is_ignored_path(path: str) -> bool:
    """Says whether any part of a path with "/" is passed over; "." and ".." are not names."""
    return any(is_ignored(part) for part in path.split("/") if part not in (".", ".."))
