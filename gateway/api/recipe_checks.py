"""Whether what is asked of a method has an effect: scores, guidance, senses and pools."""

from collections.abc import Iterable

from gateway.api.resources import Dataset, Recipe
from gateway.augment.choice import SCORES
from gateway.augment.senses import parse_pins
from gateway.methods.base import Method
from gateway.methods.composition import Part
from servicekit.errors import InvalidArgument


def check_keep(recipe: Recipe) -> None:
    factor, keep, field, why = recipe.make_factor, recipe.keep, "keep", ""
    if keep and keep not in SCORES:
        why = f"there is no score {keep!r} to keep images by; there are {', '.join(SCORES)}"
    elif bool(keep) != bool(factor) or 0 < factor < 1:
        field = "make_factor"
        why = f"make_factor is {factor:g} and keep is {keep!r}; give both, make_factor from 1 to 20"
    elif keep == "unsafe_score" and not recipe.check_safety:
        why = "without check_safety no image has an unsafe_score; set it, or keep by clip_score"
    if why:
        raise InvalidArgument(why, field=f"augmentation.{field}", reason="BAD_CHOICE")


def check_guidance(method: Method, recipe: Recipe) -> None:
    if method.needs.no_guidance and (recipe.guidance_scale or 0) > 1:
        raise InvalidArgument(
            f"{method.id} denoises without a prompt, so there is nothing to guide by, and "
            f"guidance_scale is {recipe.guidance_scale:g}; leave it out",
            field="augmentation.guidance_scale",
            reason="NO_GUIDANCE",
        )
    scale = recipe.guidance_scale
    if not recipe.negative_prompt:
        return
    why = ""
    if not method.model:
        why = f"{method.id} makes no images"
    elif method.needs.no_guidance:
        why = f"{method.id} denoises without guidance"
    elif scale is not None and scale <= 1:
        why = f"with guidance_scale {scale:g} there is no guidance"
    if why:
        raise InvalidArgument(
            f"negative_prompt has no effect, since {why}; leave it out",
            field="augmentation.negative_prompt",
            reason="NO_GUIDANCE",
        )


def check_pins(parts: Iterable[Part], dataset: Dataset) -> None:
    for part in parts:
        pins = str(part.values.get("senses", ""))
        parse_pins(pins, [one.class_name for one in dataset.classes])


def check_no_pool(parts: Iterable[Part], field: str) -> None:
    """Raises InvalidArgument if a method needs a pool."""
    for part in parts:
        if part.method.needs.pool:
            raise InvalidArgument(
                f"{part.method.id} searches a pool of images; give pool_uri",
                field=field,
                reason="POOL_REQUIRED",
            )
