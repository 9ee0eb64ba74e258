"""Looks methods up and checks their parameters."""

from collections.abc import Mapping

from gateway import methods
from gateway.methods.base import Composed, Method, Value
from servicekit.errors import InvalidArgument
from servicekit.registry import registered


def all_methods() -> Mapping[str, Method | Composed]:
    """Returns every method by its id, sorted."""
    return registered(methods, "METHOD")


def method_of(method_id: str) -> Method | Composed:
    """Returns a method. Raises InvalidArgument naming the known ones."""
    known = all_methods()
    if method_id not in known:
        raise InvalidArgument(
            f"there is no method {method_id!r}; known are {', '.join(known)}",
            field="augmentation.method",
            reason="UNKNOWN_METHOD",
        )
    return known[method_id]


def parse_parameters(method: Method | Composed, texts: Mapping[str, str]) -> dict[str, Value]:
    """Returns every parameter of the method by name, given or default.

    Raises InvalidArgument for an unknown name, naming the known ones, and for a value out of range.
    """
    known = {parameter.name: parameter for parameter in method.parameters}
    for name in texts:
        if name not in known:
            raise InvalidArgument(
                f"{method.id} has no parameter {name!r}; known are {', '.join(known) or 'none'}",
                field=f"augmentation.parameters.{name}",
                reason="UNKNOWN_PARAMETER",
            )
    return {
        name: parameter.parse(texts[name]) if name in texts else parameter.default
        for name, parameter in known.items()
    }
