"""Colours to sRGB, which is what models are trained on and what files without a profile are in."""

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

_BROKEN = "colour profile cannot be used: read as sRGB"
# Spaces of profiles by the mode of the image that they describe.
_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK", "LAB": "Lab"}
# Largest difference, of 255, by which a profile may change colours and still be sRGB, rounded.
_SAME = 2


def to_srgb(image: Image.Image) -> tuple[Image.Image, str]:
    """Returns a loaded 8-bit image as sRGB on white, and a note ("" if there is none)."""
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    profile = image.info.get("icc_profile")
    colours = _without_alpha(image)
    note = ""
    if (isinstance(profile, bytes) and profile) or colours.mode == "LAB":
        colours, note = _converted(colours, profile or b"")
    rgb = colours.convert("RGB")
    if alpha is None:
        return rgb, note
    rgb.putalpha(alpha)
    white = Image.new("RGBA", rgb.size, "white")
    return Image.alpha_composite(white, rgb).convert("RGB"), note


def _without_alpha(image: Image.Image) -> Image.Image:
    """Returns the colours in a mode that a profile can describe."""
    if image.mode in ("LA", "La", "1"):
        return image.convert("LA").getchannel("L") if image.mode != "1" else image.convert("L")
    if image.mode in ("L", "CMYK", "LAB", "RGB"):
        return image
    return (
        image.convert("RGBA").convert("RGB")
        if image.has_transparency_data
        else image.convert("RGB")
    )


def _converted(image: Image.Image, profile: bytes) -> tuple[Image.Image, str]:
    try:
        if image.mode == "L" and profile and _space(profile) == "RGB":
            image = image.convert("RGB")
        transform = _transform(profile, image.mode)
        return (image if transform is None else transform.apply(image)), ""
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, SystemError):
        return image, _BROKEN


def _space(profile: bytes) -> str:
    found = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space
    return str(found).strip()


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Returns what brings pixels of a profile to sRGB; None if they are there already."""
    if mode == "LAB":
        source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    else:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if _space(profile) != _SPACES[mode]:
            raise ValueError("a profile for other images")
    target = ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(source, target, mode, "RGB")
    if mode in ("RGB", "L"):
        probe = _probe(mode)
        changed = np.asarray(transform.apply(probe)).astype(int) - np.asarray(probe.convert("RGB"))
        if np.abs(changed).max() <= _SAME:
            return None
    return transform


def _probe(mode: str) -> Image.Image:
    """Returns an image of colours from everywhere in the cube, or of all greys."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    levels = np.linspace(0, 255, 9).astype(np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1)
    return Image.fromarray(cube.reshape(27, 27, 3))
