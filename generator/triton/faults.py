"""Errors on their way through Triton, whose own have one of a few codes and a text.

The text is the sentence for people, and a google.rpc.Status on a line of its own.
"""

import base64
import binascii

from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from generator.errors import translate
from servicekit.errors import ServiceError
from servicekit.statuses import from_status, to_status

_MARK = "\nstatus: "


def to_text(error: Exception) -> str:
    """Returns the text of a Triton error that carries `error`."""
    status = to_status(translate(error), "generator")
    return status.message + _MARK + base64.b64encode(status.SerializeToString()).decode()


def from_text(text: str) -> ServiceError | None:
    """Returns the error that a text carries; None if Triton wrote it itself."""
    _, mark, packed = text.partition(_MARK)
    if not mark:
        return None
    try:
        return from_status(status_pb2.Status.FromString(base64.b64decode(packed, validate=True)))
    except (binascii.Error, DecodeError):
        return None
