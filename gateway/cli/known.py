"""The methods that there are, and whether what was asked for is among them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from gateway.cli.failures import CliError, unknown

if TYPE_CHECKING:
    from variegate.gateway.v1 import gateway_pb2 as pb

    from gateway.cli.session import Session

LISTING = "`variegate methods` lists them all."

# (method, its parameters)
Asked = Iterable[tuple[str, Mapping[str, str]]]


async def methods_of(session: "Session") -> list["pb.Method"]:
    """The methods of the system that the session talks to."""
    from variegate.gateway.v1 import gateway_pb2 as pb

    answer = await session.call(session.gateway.ListMethods, pb.ListMethodsRequest())
    return list(answer.methods)


def with_parameters(
    methods: Sequence["pb.Method"], wanted: Asked, parameters: Mapping[str, str]
) -> list[tuple[str, dict[str, str]]]:
    """Gives every wanted method those of the parameters that it has, besides its own.

    Raises CliError for an unknown method, or a parameter that none of them has.
    """
    asked = list(wanted)
    own = {name: _parameters(methods, name) for name, _ in asked}
    for parameter in parameters:
        if not any(parameter in has for has in own.values()):
            raise unknown("parameter", parameter, set().union(*own.values()), listing=LISTING)
    return [
        (name, {key: value for key, value in parameters.items() if key in own[name]} | dict(given))
        for name, given in asked
    ]


def check_methods(methods: Sequence["pb.Method"], asked: Asked, *, has_pool: bool) -> None:
    """Raises CliError for an unknown method or parameter, a value that is none, a missing pool."""
    known = {method.id: method for method in methods}
    for name, parameters in asked:
        names = _parameters(methods, name)
        for given in parameters:
            if given not in names:
                raise unknown("parameter", given, names, listing=LISTING)
        for parameter in known[name].parameters:
            if parameter.name in parameters:
                check_value(parameter, parameters[parameter.name])
        if known[name].needs_pool and not has_pool:
            raise CliError(
                f"The method {name!r} takes images from a pool, and none was given.",
                remedy="Add --pool FILE.parquet with the columns image, label and class_name.",
                reason="POOL_MISSING",
            )


def check_value(parameter: "pb.MethodParameter", text: str) -> None:
    """Raises CliError for a text that is no value of a parameter."""
    from variegate.gateway.v1 import gateway_pb2 as pb

    from servicekit.values import Kind, value_of

    kinds: dict[int, Kind] = {
        pb.MethodParameter.KIND_INTEGER: int,
        pb.MethodParameter.KIND_NUMBER: float,
    }
    low = parameter.minimum if parameter.HasField("minimum") else None
    high = parameter.maximum if parameter.HasField("maximum") else None
    try:
        value_of(text, kinds.get(parameter.kind, str), low, high)
    except ValueError as error:
        raise CliError(
            f"The parameter {parameter.name} is {text!r}; it must be {error}.",
            remedy=f"{parameter.description} Its default is {parameter.default_value}.",
            reason="PARAMETER_OUT_OF_RANGE",
        ) from error


def _parameters(methods: Sequence["pb.Method"], name: str) -> set[str]:
    known = {method.id: {entry.name for entry in method.parameters} for method in methods}
    if name not in known:
        raise unknown("method", name, known, listing=LISTING)
    return known[name]
