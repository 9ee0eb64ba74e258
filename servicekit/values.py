"""Values that are given as texts: numbers within a range, or the text itself."""

Value = int | float | str
Kind = type[int] | type[float] | type[str]

_NAMES: dict[Kind, str] = {int: "an integer", float: "a number", str: "a text"}


def value_of(text: str, kind: Kind, low: float | None = None, high: float | None = None) -> Value:
    """Returns what a text says, within the closed range of `low` to `high`; None is no bound.

    Raises ValueError with what it must be, for example "an integer in [0, 20]".
    """
    try:
        value = kind(text)
    except ValueError:
        raise _error(kind, low, high) from None
    if isinstance(value, int | float):
        # "not" also catches what is no number at all.
        if low is not None and not value >= low:
            raise _error(kind, low, high)
        if high is not None and not value <= high:
            raise _error(kind, low, high)
    return value


def _error(kind: Kind, low: float | None, high: float | None) -> ValueError:
    bounds = ""
    if low is not None and high is not None:
        bounds = f" in [{low:g}, {high:g}]"
    elif low is not None:
        bounds = f", at least {low:g}"
    elif high is not None:
        bounds = f", at most {high:g}"
    return ValueError(f"{_NAMES[kind]}{bounds}")
