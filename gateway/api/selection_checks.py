"""Whether validation images can select among the arms of a study."""

from gateway.api.resources import Dataset, Study, StudyArm
from servicekit.errors import InvalidArgument, Precondition

_MOST = 64


def check_selections(study: Study, dataset: Dataset) -> None:
    """Raises InvalidArgument for candidates that differ in more than parameters or are too few or
    too many, and Precondition without images to select by."""
    found: dict[tuple[object, ...], list[tuple[int, StudyArm]]] = {}
    for number, arm in enumerate(study.arms):
        if not arm.selection:
            continue
        setting = (arm.strategy, arm.policy, arm.classifier, arm.images_per_class)
        found.setdefault((arm.selection, *setting), []).append((number, arm))
    for candidates in found.values():
        _check(candidates)
    if found and not dataset.has_validation:
        raise Precondition(
            f"{dataset.name} has no validation images, which rows are selected by; import it with "
            "a share of them",
            subject=dataset.name,
            reason="NO_VALIDATION_IMAGES",
        )


def _check(candidates: list[tuple[int, StudyArm]]) -> None:
    number, first = candidates[0]
    name, why = first.selection, ""
    if not 2 <= len(candidates) <= _MOST:
        why = (
            f"the selection {name!r} has {len(candidates)} candidates with equal strategy, policy, "
            f"classifier and number of images; it takes 2 to {_MOST}"
        )
    for at, arm in candidates:
        if arm.images.added_manifest_uri:
            number, why = at, f"{arm.method!r} is there already, and nothing of it can be selected"
        elif (arm.method, arm.images) != (first.method, first.images):
            number = at
            why = (
                f"the candidates of {name!r} differ in more than parameters; only these may differ"
            )
    if why:
        field = f"study.arms[{number}].selection"
        raise InvalidArgument(why, field=field, reason="BAD_SELECTION")
