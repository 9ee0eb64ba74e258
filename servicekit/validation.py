"""Checks requests against the rules written in the protos (protovalidate)."""

import protovalidate
from google.protobuf.message import Message

from servicekit.errors import InvalidArgument

_LONGEST_VALUE = 80


def validate(request: Message) -> None:
    """Raises InvalidArgument naming the first field that breaks a rule of its proto."""
    try:
        protovalidate.validate(request)
    except protovalidate.ValidationError as error:
        violation = error.violations[0].proto
        path = ".".join(_element(element) for element in violation.field.elements)
        rule = violation.rule_id
        raise InvalidArgument(
            f"{path or 'request'}: {violation.message or rule}",
            field=path,
            reason="FIELD_REQUIRED" if "required" in rule else "FIELD_OUT_OF_RANGE",
            metadata={"rule": rule},
        ) from error


def _element(element: object) -> str:
    name = str(getattr(element, "field_name", ""))
    index = _index_of(element)
    return f"{name}[{index}]" if index is not None else name


def _index_of(element: object) -> int | None:
    subscript = getattr(element, "subscript", None)
    if subscript is None or getattr(subscript, "field", "") != "index":
        return None
    return int(subscript.value)
