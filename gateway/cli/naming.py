"""What texts call the classes of a dataset, for people to read before anything is made."""

from variegate.gateway.v1 import gateway_pb2 as pb

_SHOWN = 12


def renamed(dataset: pb.Dataset) -> dict[str, str]:
    """What texts call each class that they do not call by its own name."""
    return {
        one.class_name: one.display_name
        for one in dataset.classes
        if one.display_name and one.display_name != one.class_name
    }


def names_line(dataset: pb.Dataset) -> str:
    """A line that says so; empty if every class is called by its own name."""
    names = renamed(dataset)
    if not names:
        return ""
    shown = [f"{key} = {name}" for key, name in list(names.items())[:_SHOWN]]
    more = f"; and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"names in prompts: {'; '.join(shown)}{more} (--names FILE changes them)"
