"""What a method is made of: one alone, or several that share the images of each class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from gateway.methods.base import Composed, Method, Values
from gateway.methods.registry import method_of, parse_parameters
from gateway.mixes import check_once, read_mix
from gateway.quotas import Quota
from servicekit.errors import InvalidArgument


@dataclass(frozen=True)
class Part:
    """A method, its part of each class's images, and the values of all its parameters."""

    method: Method
    quota: Quota
    values: Values

    @property
    def share(self) -> Fraction:
        """Its share of the images, in (0, 1]."""
        return self.quota.shares[self.quota.number]


def parts_of(text: str, parameters: Mapping[str, str]) -> tuple[Part, ...]:
    """Returns the methods of a text such as "mvc" or "mvc:0.5,simple:0.5", in order.

    A parameter goes to every method that has it, and one that is called METHOD.NAME to that method
    alone, before the other. Raises InvalidArgument for an unknown method, for shares that are none,
    for a method that is there twice, and for a parameter that none of them has.
    """
    named = _read(text)
    given = _by_method([method_of(name) for name, _ in named], parameters)
    shares: list[tuple[str, Fraction, Values]] = []
    for name, share in named:
        method = method_of(name)
        values = parse_parameters(method, given[name])
        if isinstance(method, Composed):
            inside = method.shares(values)
            shares += [(own, share * part, its) for own, part, its in inside if part]
        else:
            shares.append((name, share, values))
    _checked_once([name for name, _, _ in shares], text)
    every = tuple(share for _, share, _ in shares)
    return tuple(
        Part(_single(name), Quota(every, number), values)
        for number, (name, _, values) in enumerate(shares)
    )


def methods_in(text: str) -> list[Method]:
    """Returns the methods that a text names, those inside composed ones among them.

    Raises InvalidArgument as parts_of does.
    """
    names: list[str] = []
    for name, _ in _read(text):
        method = method_of(name)
        names += method.methods if isinstance(method, Composed) else [name]
    return [_single(name) for name in dict.fromkeys(names)]


def _read(text: str) -> list[tuple[str, Fraction]]:
    try:
        return read_mix(text)
    except ValueError as error:
        raise _bad(str(error)) from error


def _checked_once(names: Sequence[str], text: str) -> None:
    try:
        check_once(names, text)
    except ValueError as error:
        raise _bad(str(error)) from error


def _bad(why: str) -> InvalidArgument:
    return InvalidArgument(why, field="augmentation.method", reason="BAD_MIX")


def _single(name: str) -> Method:
    """A method that makes images itself: what composed methods are made of."""
    method = method_of(name)
    assert not isinstance(method, Composed)
    return method


def _by_method(
    methods: Sequence[Method | Composed], parameters: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """Returns the parameters of each method, by its id."""
    has = {one.id: {parameter.name for parameter in one.parameters} for one in methods}
    given: dict[str, dict[str, str]] = {name: {} for name in has}
    for key in sorted(parameters, key=lambda key: "." in key):
        owner, dot, name = key.rpartition(".")
        owners = [owner] if dot else [one for one in has if key in has[one]]
        if not dot and len(has) == 1:
            owners = list(has)  # Which says itself that it has no such parameter.
        elif not owners or any(name not in has.get(one, ()) for one in owners):
            raise _unknown(key, has)
        for one in owners:
            given[one][name] = parameters[key]
    return given


def _unknown(key: str, has: Mapping[str, set[str]]) -> InvalidArgument:
    known = [f"{one} has {', '.join(sorted(names)) or 'none'}" for one, names in has.items()]
    return InvalidArgument(
        f"there is no parameter {key!r} of {' or '.join(has)}; {'; '.join(known)}",
        field=f"augmentation.parameters.{key}",
        reason="UNKNOWN_PARAMETER",
    )
