"""Messages that keep most rules of their protos and break some, made from the descriptors."""

import random
import struct
from collections.abc import Iterator, Mapping, Sequence

from buf.validate import validate_pb2
from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

_DEEPEST = 6
# How large repeated parts make a message, in bytes.
_MANY = 200_000
# Of a list so many parts may be odd; the others only make it long.
_ODD_PARTS = 8
_SIZES = (0, 1, 1, 1, 2, 3, 17)
_FLOATS = (0.0, -0.0, 0.5, 1.0, -1.0, 1e-45, 3.4e38, float("inf"), float("-inf"), float("nan"))
_WHOLE_NUMBERS = (
    0,
    1,
    2,
    7,
    64,
    999,
    2**31 - 1,
    2**31,
    2**63 - 1,
    2**64 - 1,
    -1,
    -(2**31),
    -(2**63),
)
_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
ODD_TEXTS = (
    "",
    " ",
    "\0",
    "a\0b",
    "\x1b[31mred\x1b[0m",
    "\u202egnp.exe",
    "\ud7ff\ue000\ufffe\uffff",
    "👩‍👩‍👧‍👦" * 7,
    "e" + "\u0301" * 300,
    "../../../etc/passwd",
    "store:",
    "store:../../x",
    "store:/etc/passwd",
    "store:a//b",
    "store:" + "k" * 900,
    "store:" + "k/" * 450,
    "store:" + "é" * 300,
    "store:datasets",
    "store:%2e%2e/x",
    "file:///etc/passwd",
    "file:///dev/zero",
    "http://127.0.0.1:1/x",
    "s3://bucket/key",
    "operations/",
    "operations/../x",
    "operations/" + "n" * 300,
    "indexes/../x",
    "trainingRuns/..",
    "%s%n{0}${x}",
    "'; DROP TABLE operations; --",
    "NaN",
    "-1",
    "😀" * 1024,
    "x" * 5000,
    "word " * 50_000,
    "\n" * 100,
    "{" * 3000,
)


class OddMessages:
    """Makes messages. `known` holds values by field name that a service knows."""

    def __init__(self, chance: random.Random, known: Mapping[str, Sequence[str]]) -> None:
        self._random = chance
        self._known = known

    def make(self, kind: Descriptor, depth: int = 0, *, oddity: float = 0.1) -> Message:
        """Returns a message; of its values about the share `oddity` is odd."""
        message = GetMessageClass(kind)()
        chosen = {self._random.choice(oneof.fields).name for oneof in kind.oneofs}
        for field in kind.fields:
            in_oneof = field.containing_oneof is not None
            if in_oneof and (field.name not in chosen or self._odd(oddity / 2)):
                continue
            if not in_oneof and self._random.random() < (
                oddity / 3 if _is_required(field) else 0.5
            ):
                continue
            self._fill(message, field, depth, oddity)
        return message

    def changed(self, message: Message) -> Message:
        """Returns a copy with one or two fields, wherever they are, odd, absent or too many."""
        copy = type(message)()
        copy.CopyFrom(message)
        for _ in range(self._random.choice((1, 1, 1, 2))):
            places = list(_places(copy))
            if places:
                self._spoil(*self._random.choice(places))
        return copy

    def _spoil(self, message: Message, field: FieldDescriptor) -> None:
        match self._random.randrange(8):
            case 0:
                message.ClearField(field.name)
            case 1 if field.is_repeated and not _is_map(field):
                values = getattr(message, field.name)
                most = max(1, _MANY // (message.ByteSize() + 1))
                values.extend(list(values) * min(most, self._random.choice((1, 20, 1001))))
            case 2:  # What has a meaning here, or in another field.
                self._fill(message, field, _DEEPEST - 2, 0.0)
            case _:
                self._fill(message, field, _DEEPEST - 2, 1.0)

    def _odd(self, share: float) -> bool:
        return self._random.random() < share

    def _fill(self, message: Message, field: FieldDescriptor, depth: int, oddity: float) -> None:
        rules = field.GetOptions().Extensions[validate_pb2.field]
        if _is_map(field):
            self._fill_map(message, field, rules.map, oddity)
        elif field.is_repeated:
            values = getattr(message, field.name)
            for number in range(self._count(rules.repeated, oddity)):
                own = oddity if number < _ODD_PARTS else 0.0
                if field.message_type is not None:
                    if depth < _DEEPEST:
                        values.append(self.make(field.message_type, depth + 1, oddity=own))
                else:
                    values.append(self._value(field, rules.repeated.items, own))
        elif field.message_type is not None:
            if depth < _DEEPEST:
                part = self._message(field.message_type, depth, oddity)
                getattr(message, field.name).CopyFrom(part)
        else:
            setattr(message, field.name, self._value(field, rules, oddity))

    def _fill_map(
        self, message: Message, field: FieldDescriptor, rules: validate_pb2.MapRules, oddity: float
    ) -> None:
        pairs = getattr(message, field.name)
        key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
        if value.message_type is not None:
            return
        for number in range(1000 if self._odd(oddity / 4) else self._random.randrange(3)):
            own = oddity if number < _ODD_PARTS else 0.0
            word = self._value(key, rules.keys, own)
            worth = self._value(value, rules.values, own)
            pairs[f"{word[:80]}{number or ''}" if isinstance(word, str) else word] = worth

    def _message(self, kind: Descriptor, depth: int, oddity: float) -> Message:
        message = self.make(kind, depth + 1, oddity=oddity)
        if kind.name == "Tensor" and not self._odd(oddity):  # As large as it says, mostly.
            message.shape[:] = [self._random.choice((1, 4, 77)), self._random.choice((32, 64, 768))]
            message.data_type = self._random.choice((1, 2))
            width = 2 * message.data_type
            values = [self._random.choice(_FLOATS[:5] + _FLOATS[-3:]) for _ in range(8)]
            one = b"".join(struct.pack("<e" if width == 2 else "<f", v) for v in values)
            size = message.shape[0] * message.shape[1] * width
            message.data = (one * (size // len(one) + 1))[:size]
        return message

    def _count(self, rules: validate_pb2.RepeatedRules, oddity: float) -> int:
        most = rules.max_items if rules.HasField("max_items") else 3
        if self._odd(oddity):
            return min(self._random.choice((0, most, most + 1)), 2000)
        return max(rules.min_items, min(most, self._random.choice(_SIZES)))

    def _value(self, field: FieldDescriptor, rules: validate_pb2.FieldRules, oddity: float):
        match field.cpp_type:
            case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
                return self._random.randbytes(self._random.choice((0, 1, 4, 1000, 100_000)))
            case FieldDescriptor.CPPTYPE_STRING:
                return self._text(field.name, rules, oddity)
            case FieldDescriptor.CPPTYPE_BOOL:
                return self._random.random() < 0.5
            case FieldDescriptor.CPPTYPE_ENUM:
                last = len(field.enum_type.values)
                odd = self._random.choice((-1, last, 10**6, -(2**31)))
                return odd if self._odd(oddity) else self._random.randrange(last)
            case FieldDescriptor.CPPTYPE_FLOAT | FieldDescriptor.CPPTYPE_DOUBLE:
                return self._random.choice(_FLOATS if self._odd(oddity) else _FLOATS[:4])
            case kind:
                return self._whole_number(field.name, kind, rules, oddity)

    def _whole_number(
        self, name: str, kind: int, rules: validate_pb2.FieldRules, oddity: float
    ) -> int:
        least, most = _RANGES[kind]
        if self._odd(oddity):
            return min(max(self._random.choice(_WHOLE_NUMBERS), least), most)
        if numbers := self._known.get(name):
            return int(self._random.choice(numbers))
        own = getattr(rules, rules.WhichOneof("type") or "", None)
        first = max(getattr(own, "gte", 0), getattr(own, "gt", -1) + 1)
        return first + self._random.randrange(4)

    def _text(self, name: str, rules: validate_pb2.FieldRules, oddity: float) -> str:
        if self._odd(oddity):
            text = self._random.choice(ODD_TEXTS)
            most = rules.string.max_len
            return text[:most] if most and self._random.random() < 0.7 else text
        choices = self._known.get(name) or self._known["any"]
        return self._random.choice(choices)


def _places(message: Message) -> Iterator[tuple[Message, FieldDescriptor]]:
    """Yields every field of a message and of those in it, also the absent ones."""
    for field in message.DESCRIPTOR.fields:
        yield message, field
        if field.message_type is not None and not _is_map(field):
            value = getattr(message, field.name)
            parts = value if field.is_repeated else [value] * message.HasField(field.name)
            for part in parts:
                yield from _places(part)


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _is_required(field: FieldDescriptor) -> bool:
    behaviors = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return field_behavior_pb2.REQUIRED in behaviors
