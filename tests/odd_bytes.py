"""What no encoder of messages writes: spoiled bytes on the wire."""

import random

# A field that no message has.
_UNKNOWN = 15_000
_DEEP = 200


def spoiled(data: bytes, chance: random.Random) -> bytes:
    """Returns the bytes with one thing wrong that a decoder has to notice or to bear."""
    return chance.choice((_flipped, _not_utf8, _truncated, _unknown_field, _nested, _endless))(
        data or b"\x0a\x01a", chance
    )


def noise(chance: random.Random) -> bytes:
    """Returns random bytes."""
    return chance.randbytes(chance.choice((1, 2, 10, 100, 10_000)))


def _flipped(data: bytes, chance: random.Random) -> bytes:
    """Some bits flipped, bytes cut out, doubled or put in."""
    bytes_ = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(bytes_) or 1)
        match chance.randrange(4):
            case 0 if bytes_:
                bytes_[at] ^= 1 << chance.randrange(8)
            case 1:
                del bytes_[at : at + chance.randrange(8)]
            case 2:
                bytes_[at:at] = bytes_[: chance.randrange(64)]
            case _:
                bytes_[at:at] = chance.randbytes(chance.randrange(16))
    return bytes(bytes_)


def _not_utf8(data: bytes, chance: random.Random) -> bytes:
    """A letter of a text is a byte that UTF-8 does not have, or half of a surrogate pair."""
    letters = [at for at, byte in enumerate(data[:4096]) if 97 <= byte <= 122]
    at = chance.choice(letters) if letters else len(data) - 1
    odd = chance.choice((b"\xff", b"\x80", b"\xed\xa0\x80", b"\xc0\x80"))
    return data[:at] + odd[: len(data) - at] + data[at + len(odd) :]


def _truncated(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def _unknown_field(data: bytes, chance: random.Random) -> bytes:
    """A field of the next version, or a known one with another wire type; both are legal."""
    number = chance.choice((_UNKNOWN, chance.randint(1, 30)))
    kind = chance.choice((0, 1, 2, 5))
    body = {0: varint(chance.getrandbits(64)), 1: b"\1" * 8, 2: b"\3abc", 5: b"\1" * 4}[kind]
    return data + varint(number << 3 | kind) + body


def _nested(data: bytes, chance: random.Random) -> bytes:
    """Groups in groups, or fields in fields, deeper than decoders go."""
    if chance.random() < 0.5:
        number = chance.choice((_UNKNOWN, 1))
        begin, end = varint(number << 3 | 3), varint(number << 3 | 4)
        return data + begin * _DEEP + end * chance.choice((0, _DEEP))
    number, inner = chance.randint(1, 8), b""
    for _ in range(_DEEP):
        inner = varint(number << 3 | 2) + varint(len(inner)) + inner
    return data + inner


def _endless(data: bytes, chance: random.Random) -> bytes:
    """A length beyond the message, or a number of more bytes than a varint has."""
    length = varint(chance.choice((2**20, 2**31 - 1, 2**31, 2**63)))
    return data + varint(chance.randint(1, 8) << 3 | 2) + chance.choice((length, b"\xff" * 12))


def varint(value: int) -> bytes:
    """Returns a number of at most 64 bits in base 128, lowest digits first."""
    digits = []
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*digits, value))
