"""The metrics of a run as an event file of TensorBoard, which grows while the run trains.

It has one name, whichever machine goes on with the run, so that the store keeps one file a run:
`tensorboard --logdir` shows a folder of the scratch folder, or of a store that is a folder.
"""

import time
from collections.abc import Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from trainer.history import EVENTS

_VERSION = "brain.Event:2"


class EventLog:
    """Writes the file anew; each report is in it when `add` returns."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / EVENTS
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_bytes(b"")
        self._write(Event(wall_time=time.time(), file_version=_VERSION))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Adds the values of a step, by name; the time is that of the call."""
        scalars = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write(Event(wall_time=time.time(), step=step, summary=Summary(value=scalars)))

    def _write(self, event: Event) -> None:
        with self._path.open("ab") as file:
            RecordWriter(file).write(event.SerializeToString())
