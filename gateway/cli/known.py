"""The methods that there are, and whether what was asked for is among them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from gateway.cli.failures import CliError, unknown
from gateway.mixes import gathered, read_mix

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


def method_names(texts: str | list[str] | None) -> list[str]:
    """Methods separated by commas, each once; a mix, which has commas of its own, is one of them:
    "simple,mvc:0.5,boomerang:0.5" -> ["simple", "mvc:0.5,boomerang:0.5"]. Raises CliError."""
    given = [texts] if isinstance(texts, str) else texts or []
    parts = [part.strip() for text in given for part in text.split(",") if part.strip()]
    try:
        return list(dict.fromkeys(gathered(parts)))
    except ValueError as error:
        raise _no_mix(error) from error


def in_mix(methods: Sequence["pb.Method"], text: str) -> list["pb.Method"]:
    """The methods of a mix, or the one that there is. Raises CliError for an unknown one."""
    known = {method.id: method for method in methods}
    try:
        names = [name for name, _ in read_mix(text)]
    except ValueError as error:
        raise _no_mix(error) from error
    for name in names:
        if name not in known:
            raise unknown("method", name, known, listing=LISTING)
    return [known[name] for name in names]


def parameters_in(mix: Sequence["pb.Method"]) -> dict[str, "pb.MethodParameter"]:
    """The parameters of a mix by what they may be called: NAME, or METHOD.NAME for one alone."""
    own = {entry.name: entry for method in mix for entry in method.parameters}
    return own | {f"{one.id}.{entry.name}": entry for one in mix for entry in one.parameters}


def with_parameters(
    methods: Sequence["pb.Method"], wanted: Asked, parameters: Mapping[str, str]
) -> list[tuple[str, dict[str, str]]]:
    """Gives every wanted method those of the parameters that it has, besides its own.

    Raises CliError for an unknown method, or a parameter that none of them has.
    """
    asked = list(wanted)
    own = {name: parameters_in(in_mix(methods, name)) for name, _ in asked}
    for parameter in parameters:
        if not any(parameter in has for has in own.values()):
            raise unknown("parameter", parameter, set().union(*own.values()), listing=LISTING)
    return [
        (name, {key: value for key, value in parameters.items() if key in own[name]} | dict(given))
        for name, given in asked
    ]


def with_strength(parameters: Mapping[str, str], strength: float | None) -> dict[str, str]:
    """The parameters with --strength, a short form of one of them. Raises CliError for both."""
    if strength is None:
        return dict(parameters)
    if "strength" in parameters:
        raise CliError("--strength and --param strength are both given.", remedy="Give one.")
    return {**parameters, "strength": f"{strength:g}"}


def check_methods(methods: Sequence["pb.Method"], asked: Asked, *, has_pool: bool) -> None:
    """Raises CliError for an unknown method or parameter, a value that is none, a missing pool."""
    for text, parameters in asked:
        mix = in_mix(methods, text)
        known = parameters_in(mix)
        for given, value in parameters.items():
            if given not in known:
                if given == "strength":
                    raise _no_strength(methods, text)
                names = known if len(mix) > 1 else {one.name for one in mix[0].parameters}
                raise unknown("parameter", given, names, listing=LISTING)
            check_value(known[given], value)
        needy = next((one for one in mix if one.needs_pool), None)
        if needy and not has_pool:
            raise CliError(
                f"The method {needy.id!r} takes images from a pool, and none was given.",
                remedy="Add --pool FILE.parquet with the columns image, label and class_name.",
                reason="POOL_MISSING",
            )


def _no_strength(methods: Sequence["pb.Method"], text: str) -> CliError:
    having = [one.id for one in methods if "strength" in parameters_in([one])]
    return CliError(
        f"The method {text!r} starts from no image, so it has no strength.",
        remedy=f"Methods that do: {', '.join(having)}.",
        reason="UNKNOWN_PARAMETER",
    )


def _no_mix(error: ValueError) -> CliError:
    return CliError(f"{error}.", remedy=LISTING, reason="BAD_MIX")


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
