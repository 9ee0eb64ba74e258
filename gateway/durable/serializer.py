"""How results of steps are written into the database: as JSON, and never as pickles.

A pickle runs whatever code its writer chose when it is read. DBOS writes pickles by default, and
reads rows that are marked as pickles whatever serializer it is given, so its own is disarmed.
"""

import json
from typing import Any, NoReturn

from dbos._serialization import DefaultSerializer, Serializer
from sqlalchemy.exc import SQLAlchemyError

_ERROR = "variegate.error"
_NESTED = (dict, list, tuple)


class RecordedError(Exception):
    """An unexpected error that a step or a workflow ended with, as it was written down."""


class JsonSerializer(Serializer):
    """Plain data as JSON. A tuple comes back as a list, an error as a RecordedError."""

    def serialize(self, data: Any) -> str:
        """Raises TypeError for anything else than plain data with texts as keys."""
        if isinstance(data, SQLAlchemyError):
            raise data  # A result that could not be written down is none, and neither is this.
        if isinstance(data, BaseException):
            data = {_ERROR: f"{type(data).__name__}: {data}"}
        _check_keys(data)
        return json.dumps(data, separators=(",", ":"))

    def deserialize(self, serialized_data: str) -> Any:
        data = json.loads(serialized_data)
        if isinstance(data, dict) and data.keys() == {_ERROR}:
            return RecordedError(data[_ERROR])
        return data

    def name(self) -> str:
        return "variegate_json"


def _check_keys(data: Any) -> None:
    """Raises TypeError for a key that JSON would silently turn into a text."""
    if isinstance(data, dict):
        for key in data:
            if not isinstance(key, str):
                raise TypeError(f"a step's result has the key {key!r}, which is not a string")
        data = data.values()
    elif not isinstance(data, _NESTED):
        return
    for value in data:
        if isinstance(value, _NESTED):  # Most values are not, and need no call.
            _check_keys(value)


def _refuse(*_: object) -> NoReturn:
    raise TypeError("the record is a pickle; only JSON is read")


DefaultSerializer.deserialize = _refuse  # type: ignore[method-assign]
