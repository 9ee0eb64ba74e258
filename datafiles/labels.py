"""What a label says: the name of a class, its number, or nothing."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from datafiles.names import clean_name
from datafiles.texts import Unreadable, read_text

# Where a class stands, in a table and in JSON, unless the user names another column.
CLASS_NAME, LABEL = "class_name", "label"
# Texts that are the number of a class: a leading zero makes a name, such as "007".
_NUMBER = re.compile(r"(-?(?:0|[1-9]\d{0,18}))(?:\.0+)?")


@dataclass(frozen=True)
class Label:
    """The class of an image as its data set writes it: `name` "" and `number` None if not known.

    A number says nothing outside the data set that it comes from.
    """

    name: str = ""
    number: int | None = None

    @property
    def text(self) -> str:
        """The class as people read it: the name, or else the number; "" if neither is known."""
        return self.name or ("" if self.number is None else str(self.number))


def label_of(value: object, names: Sequence[str] = (), *, is_name: bool = False) -> Label:
    """Returns what a value of any type says; Label() for null, NaN, "" and negative numbers.

    `names` are those of the numbers 0, 1, ...; `is_name` is for values that name the class by
    definition, so that the text "3" is a name. Bytes are texts, and whole floats and texts are
    numbers. Raises Unreadable with the reason BAD_LABEL for what is no class (a bool, a list, 1.5,
    a number that has no name though others have) and NOT_UTF8 for other bytes.
    """
    match value:
        case None:
            return Label()
        case bool():
            raise _bad(f"the label {value} is true or false, which names no class")
        case int():
            return _numbered(value, names)
        case float() | Decimal():
            if math.isnan(value):
                return Label()
            if math.isinf(value) or value != int(value):
                raise _bad(f"the label {value} is not a whole number")
            return _numbered(int(value), names)
        case bytes() | bytearray() | memoryview():
            return label_of(read_text(bytes(value)), names, is_name=is_name)
        case str():
            return _of_text(value, names, is_name)
    raise _bad(f"the label is a {type(value).__name__}; one class per image is read")


def _of_text(text: str, names: Sequence[str], is_name: bool) -> Label:
    name = clean_name(text)
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise _bad("the label has half a character (a lone surrogate)") from error
    if (found := _NUMBER.fullmatch(name)) and not is_name:
        return _numbered(int(found[1]), names)
    return Label(name)


def _numbered(number: int, names: Sequence[str]) -> Label:
    if number < 0:  # What most data sets write for "not labelled".
        return Label()
    if number >= 2**63:
        raise _bad("the label is a number beyond 64 bits")
    if not names:
        return Label(number=number)
    if number >= len(names):
        raise _bad(f"the label {number} has no name: there are {len(names)}, counted from 0")
    return Label(clean_name(names[number]), number)


def label_of_fields(values: Mapping[str, object], names: Sequence[str] = ()) -> Label:
    """Returns what the fields class_name and label of a row or of JSON say together.

    A class_name is the name; without one a label is the name or the number. Raises Unreadable.
    """
    named = label_of(values.get(CLASS_NAME), is_name=True)
    other = label_of(values.get(LABEL), names)
    number = other.number if named.number is None else named.number
    return Label(named.name or ("" if named.text else other.name), number)


def agreed(labels: Sequence[Label]) -> Label:
    """Returns what labels of one image say together.

    Raises Unreadable with the reason CONFLICTING_LABELS if two name or number different classes; a
    name and a number go together.
    """
    known_names = {one.name: None for one in labels if one.name}
    numbers = {one.number: None for one in labels if one.number is not None}
    for found in (list(known_names), list(numbers)):
        if len(found) > 1:
            shown = " and ".join(repr(one) for one in found[:3])
            raise Unreadable("CONFLICTING_LABELS", f"its labels are {shown}; only one can be right")
    return Label(next(iter(known_names), ""), next(iter(numbers), None))


def _bad(message: str) -> Unreadable:
    return Unreadable("BAD_LABEL", message)
