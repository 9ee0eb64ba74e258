"""Which family serves a model folder."""

from diffusion import families
from diffusion.errors import BrokenModel
from diffusion.families.base import Family
from servicekit.registry import registered

FAMILIES: tuple[Family, ...] = tuple(registered(families, "FAMILY", key="title").values())
_BY_PIPELINE = {pipeline: family for family in FAMILIES for pipeline in family.pipelines}


def family_of(pipeline: str, model: str) -> Family:
    """Returns the family that serves a pipeline class.

    Raises BrokenModel that names the model and lists the families that are served.
    """
    if pipeline not in _BY_PIPELINE:
        served = "; ".join(f"{one.title} ({', '.join(one.pipelines)})" for one in FAMILIES)
        raise BrokenModel(
            model,
            f"its pipeline class is {pipeline}, of a family that is not served; those that are: "
            f"{served}",
        )
    return _BY_PIPELINE[pipeline]
