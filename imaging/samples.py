"""Samples of more than eight bits, made eight: by the range that the file states, or the image's.

Many files state a range that their values do not use: 8- or 12-bit values in a 16-bit PNG, whole
numbers of a camera in 32 bits. Shown by the stated range they would be black. Such an image is read
by the smallest common depth that holds its values, which is a property of the sensor or the
program that wrote it and, unlike the image's own minimum and maximum, changes no contrast within a
set of files. Whatever was not stated is said in a note; where it would be a guess, the image is
refused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imaging.rejection import ImageRejected

# Depths that sensors and programs write. The last is the limit of 16-bit files.
_DEPTHS = (8, 10, 12, 14, 16)
# The tags of TIFF.
_BITS, _PHOTOMETRIC, _FORMAT, _WHITE_IS_ZERO = 258, 262, 339, 0
_LOWEST, _HIGHEST = (340, 280), (341, 281)
# Whole numbers of other sizes than 8 bits were seldom meant for a scale of 0 to 255 if they are
# this dark.
_DARK = 64.0
# How much above 1 rounding may lift a value on the scale of 0 to 1.
_ROUNDING = 1e-3
_OTHER_ORDER = {"16B": "16L", "16L": "16B", "16N": "16B" if np.little_endian else "16L"}

Reopen = Callable[[], Image.Image]


@dataclass(frozen=True)
class Stated:
    """What a file states of its samples; read before it is decoded.

    `bits` is the depth of whole numbers, `lowest` and `highest` a range if the file has one.
    """

    bits: int = 8
    is_signed: bool = False
    is_inverted: bool = False
    is_deep_colour: bool = False
    lowest: float = 0.0
    highest: float | None = None


def stated_by(image: Image.Image) -> Stated:
    """Returns what an opened file states."""
    rawmode = _rawmode(image)
    deep = ";16" in rawmode and image.mode not in ("I", "F") and not image.mode.startswith("I;16")
    if image.format == "TIFF":
        return _stated_by_tiff(image, deep)
    if image.format == "PPM" and image.mode == "I" and rawmode != "I;16B":
        # Pillow has scaled it by the largest value that the header states.
        return Stated(bits=16, highest=65535.0)
    return Stated(bits=16, is_deep_colour=deep)


def to_eight_bits(
    image: Image.Image, stated: Stated, reopen: Reopen, name: str
) -> tuple[Image.Image, str]:
    """Returns a loaded image with eight bits a sample, and a note ("" if the file states all).

    `reopen` opens the same file again. Raises ImageRejected with the reason VALUE_RANGE.
    """
    if stated.is_deep_colour:
        return _deep_colour(image, reopen, name)
    values: NDArray[Any]
    if image.mode == "F":
        values = np.asarray(image, np.float64)
        low, high, note = _range_of_floats(values, stated, name)
    elif image.mode == "I" or image.mode.startswith("I;16"):
        values = _whole_numbers(image, stated)
        low, high, note = _range_of_whole_numbers(values, stated, name)
    else:
        return image, ""
    return _with_info(Image.fromarray(_scaled(values, low, high, stated.is_inverted)), image), note


def _stated_by_tiff(image: Image.Image, deep: bool) -> Stated:
    tags: Any = getattr(image, "tag_v2", {})
    lowest, highest = (_number(tags, names) for names in (_LOWEST, _HIGHEST))
    stated = highest is not None and highest > (lowest or 0.0)
    return Stated(
        bits=int(_first(tags.get(_BITS), 8)),
        is_signed=_first(tags.get(_FORMAT), 1) == 2,
        is_inverted=_first(tags.get(_PHOTOMETRIC), 1) == _WHITE_IS_ZERO,
        is_deep_colour=deep,
        lowest=(lowest or 0.0) if stated else 0.0,
        highest=highest if stated else None,
    )


def _number(tags: Any, names: tuple[int, ...]) -> float | None:
    for name in names:
        value = _first(tags.get(name), None)
        if isinstance(value, int | float) and np.isfinite(value):
            return float(value)
    return None


def _first(value: Any, default: Any) -> Any:
    if isinstance(value, tuple | list):
        return value[0] if value else default
    return default if value is None else value


def _whole_numbers(image: Image.Image, stated: Stated) -> NDArray[np.int64]:
    values = np.asarray(image).astype(np.int64)
    unsigned = image.format == "TIFF" and stated.bits == 32 and not stated.is_signed
    return values & 0xFFFFFFFF if unsigned else values  # Pillow takes all 32 bits for signed


def _range_of_whole_numbers(
    values: NDArray[np.int64], stated: Stated, name: str
) -> tuple[float, float, str]:
    least, most = int(values.min()), int(values.max())
    if stated.highest is not None and stated.lowest <= least and most <= stated.highest:
        return stated.lowest, stated.highest, ""
    limit = 2 ** (stated.bits - stated.is_signed) - 1
    if least < 0:
        raise _unclear(name, f"its values go from {least:,} to {most:,}")
    depth = next((depth for depth in _DEPTHS if most < 2**depth), 0)
    if not depth and most <= limit // 4:
        raise _unclear(name, f"its values reach {most:,} of {limit:,} that the file allows")
    # A file of, say, 12 bits a sample states its range; so does one whose values need its bits.
    if stated.bits < 16 or not most or not depth or 2**depth > limit:
        return 0.0, float(limit), ""
    return 0.0, 2.0**depth - 1, f"{stated.bits}-bit samples read as {depth}-bit: none is larger"


def _range_of_floats(
    values: NDArray[np.float64], stated: Stated, name: str
) -> tuple[float, float, str]:
    if not np.isfinite(values).all():
        raise _unclear(name, "it has values that are infinite or not a number")
    least, most = float(values.min()), float(values.max())
    if stated.highest is not None and stated.lowest <= least and most <= stated.highest:
        return stated.lowest, stated.highest, ""
    if least < 0:
        raise _unclear(name, f"its values go from {least:g} to {most:g}")
    if most <= 1 + _ROUNDING:
        return 0.0, 1.0, "floating-point samples read on the scale 0 to 1" if most else ""
    is_whole = bool((values == np.round(values)).all())
    if most > 65535 or (not is_whole and most < _DARK):
        raise _unclear(name, f"its values go from {least:g} to {most:g}")
    depth = next(depth for depth in _DEPTHS if most < 2**depth)
    highest = 2**depth - 1
    return 0.0, float(highest), f"floating-point samples read on the scale 0 to {highest}"


def _unclear(name: str, why: str) -> ImageRejected:
    return ImageRejected(
        "VALUE_RANGE",
        f"{name}: {why}, and no range is stated, so what is black and what is white would be a "
        "guess; save it with 8 bits a sample, or as floating-point values from 0 to 1",
    )


def _scaled(values: NDArray[Any], low: float, high: float, is_inverted: bool) -> NDArray[np.uint8]:
    """Maps low..high to 0..255. Whole powers of two are shifted, as 16 bits are everywhere."""
    steps = int(high) + 1 if low == 0 and high == int(high) else 0
    if values.dtype.kind in "iu" and steps >= 256 and steps & (steps - 1) == 0:
        eight = values >> (steps.bit_length() - 9)
    else:
        eight = np.round((values.astype(np.float64) - low) * (255 / (high - low)))
    eight = eight.clip(0, 255).astype(np.uint8)
    return np.asarray(255 - eight if is_inverted else eight)


def _deep_colour(image: Image.Image, reopen: Reopen, name: str) -> tuple[Image.Image, str]:
    """Colour of 16 bits a sample: Pillow has kept the upper eight, which may be nearly empty."""
    colours = 3 if image.mode.startswith("RGB") else len(image.getbands())
    upper = np.asarray(image)[..., :colours]
    if int(upper.max()) << 8 >= 2 ** _DEPTHS[-2]:
        return image, ""
    try:
        values = _all_sixteen_bits(image, reopen)
    except (KeyError, ValueError, OSError, AttributeError) as error:
        raise _unclear(name, "its 16-bit samples use few of their bits") from error
    most = int(values[..., :colours].max())
    depth = next(depth for depth in _DEPTHS if most < 2**depth)
    eight = [
        _scaled(values[..., band], 0.0, float(2 ** _depth_of(values[..., band], depth) - 1), False)
        for band in range(values.shape[2])
    ]
    again = Image.frombytes(
        image.mode, image.size, np.ascontiguousarray(np.dstack(eight)).tobytes()
    )
    note = f"16-bit samples read as {depth}-bit: none is larger" if most else ""
    return _with_info(again, image), note


def _depth_of(band: NDArray[np.int64], depth: int) -> int:
    """Returns the depth of the colours; that of an alpha channel may be the whole 16 bits."""
    return depth if int(band.max()) < 2**depth else 16


def _all_sixteen_bits(image: Image.Image, reopen: Reopen) -> NDArray[np.int64]:
    """Returns the samples [height, width, bands] of an image whose upper bytes Pillow has read."""
    again: Any = reopen()
    rawmode = _rawmode(again)
    mode, _, order = rawmode.partition(";")
    # Grey with alpha is 4 bytes a pixel, and Pillow reads them as they are under this name.
    other = "RGBA" if mode == "LA" else f"{mode};{_OTHER_ORDER[order]}"
    again.tile = [tile._replace(args=_replaced(tile.args, rawmode, other)) for tile in again.tile]
    again.load()
    found, upper = (np.asarray(one).astype(np.int64) for one in (again, image))
    if mode == "LA":
        grey, alpha = found[..., 0] << 8 | found[..., 1], found[..., 2] << 8 | found[..., 3]
        return np.dstack([grey, grey, grey, alpha])
    return upper << 8 | found


def _rawmode(image: Image.Image) -> str:
    tiles = getattr(image, "tile", None)
    args = tiles[0].args if tiles else ""
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def _replaced(args: Any, old: str, new: str) -> Any:
    if isinstance(args, tuple):
        return tuple(new if value == old else value for value in args)
    return new if args == old else args


def _with_info(image: Image.Image, source: Image.Image) -> Image.Image:
    """Keeps the colour profile; a transparent value would no longer be the same."""
    if profile := source.info.get("icc_profile"):
        image.info["icc_profile"] = profile
    return image
