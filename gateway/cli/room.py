"""Room on the disks that a run writes to: what it needs there, and what is free."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli.session import Session

if TYPE_CHECKING:
    from gateway.cli.planning import RunPlan

# Of the size of the pixels: what a PNG of a photograph takes, and less than any does.
_USUAL_SHARE, _LEAST_SHARE = 0.7, 0.3


@dataclass(frozen=True)
class Disk:
    """Room that is needed in a place, at least and usually, and that is free there, in bytes."""

    place: Path
    least: int
    usual: int
    free: int

    @property
    def text(self) -> str:
        """For people."""
        return f"about {size_of(self.usual)} of {size_of(self.free)} free in {self.place}"


def disks(
    session: Session, plan: "RunPlan", out: Path, *, is_folder: bool, exports: bool
) -> list[Disk]:
    """The room needed, by file system: of the store, if it is on this machine, and the output."""
    wanted: list[tuple[Path, int, int]] = []
    store = store_folder(session)
    sizes = [plan.bytes(share=share, is_folder=True) for share in (_LEAST_SHARE, _USUAL_SHARE)]
    if store is not None:
        wanted.append((store, sizes[0], sizes[1]))
    if exports:
        least, usual = (
            plan.bytes(share=share, is_folder=is_folder, kept=True)
            for share in (_LEAST_SHARE, _USUAL_SHARE)
        )
        wanted.append((out, least, usual))
    by_device: dict[int, Disk] = {}
    for path, least, usual in wanted:
        place = next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())
        device = place.stat().st_dev
        before = by_device.get(device, Disk(place, 0, 0, shutil.disk_usage(place).free))
        by_device[device] = Disk(
            before.place, before.least + least, before.usual + usual, before.free
        )
    return [disk for disk in by_device.values() if disk.usual]


def store_folder(session: Session) -> Path | None:
    """The folder of the object store, if it is one of this machine."""
    root = getattr(session.connection.store, "root", None)
    return root if isinstance(root, Path) else None


def size_of(count: float) -> str:
    """12_300_000 -> "12.3 MB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"
