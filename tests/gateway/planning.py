"""Plans of a method over three classes of made-up material, and the items that come of them."""

from gateway.api.resources import Recipe
from gateway.datasets.manifest import DatasetItem
from gateway.methods.base import ClassMaterial
from gateway.methods.registry import method_of, parse_parameters
from gateway.plan import Plan


def real(label, number):
    name = f"class_{label}"
    sha = f"{label:02d}{number:062d}"
    return DatasetItem(
        f"item-{label}-{number}", f"store:images/{sha}.jpg", label, name, "train", sha, 32, 32, ""
    )


def material(label, count=3):
    parents = tuple(real(label, number) for number in range(count))
    return ClassMaterial(
        class_name=f"class_{label}",
        label=label,
        parents=parents,
        captions=tuple(f"This is an image of class {label}, number {i}" for i in range(count)),
        prompts=("a photo of it", "a painting of it"),
        text_shape=(8, 6),
        image_dimension=16,
        display_name=f"class {label}",
    )


def plan_of(method_id="mvc", **recipe):
    method = method_of(method_id)
    recipe = Recipe(**{"method": method_id, "images_per_class": 4, "seed": 7, **recipe})
    values = parse_parameters(method, recipe.parameters)
    return Plan("dataset-digest", recipe, method, values, "model-digest")


MATERIALS = {f"class_{label}": material(label) for label in range(3)}


def items_of(plan, materials=MATERIALS):
    return plan.items(plan.first_slots(materials.values()), materials)
