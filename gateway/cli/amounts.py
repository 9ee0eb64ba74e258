"""How many images of each class: --per-class and --fill-to."""

from dataclasses import dataclass, field
from pathlib import Path

from gateway.cli import inputs
from gateway.cli.failures import CliError
from gateway.cli.names_file import read_names

USUAL = 100
_MOST = 1_000_000
_FORMS = (
    "Write --per-class 100, --per-class cat=50,dog=200 (of others none), --per-class 100,cat=50 "
    "(100 of the others), or a file with a line such as 'cat = 50' per class."
)


@dataclass(frozen=True)
class Amount:
    """Images of each class, and of single ones; `only_those` of no others.

    With `fill_up` the real images are among them.
    """

    each: int = USUAL
    of_classes: dict[str, int] = field(default_factory=dict)
    only_those: bool = False
    fill_up: bool = False


def amount_of(per_class: str | None, fill_to: str | None) -> Amount:
    """What the two options ask for. Raises CliError for both, or what says no number."""
    if per_class is not None and fill_to is not None:
        raise CliError(
            "--per-class says how many to add, --fill-to up to how many, and both are given.",
            remedy="Leave one of them out.",
        )
    option, text = ("--fill-to", fill_to) if fill_to is not None else ("--per-class", per_class)
    if text is None:
        return Amount()
    each, counts = _read(option, text)
    if each is None:
        return Amount(max(counts.values()), counts, only_those=True, fill_up=fill_to is not None)
    return Amount(each, counts, fill_up=fill_to is not None)


def read_counts(option: str, file: str, least: int = 1) -> dict[str, int]:
    """The number of each class in a file with a line such as 'cat = 50' per class.

    Raises CliError for a file that cannot be read, and for what is no number.
    """
    pairs = read_names(file).items()
    remedy = _FORMS if not least else "Write a line such as 'cat = 50' per class."
    return {name: _number(option, number, name, least, remedy) for name, number in pairs}


def check_choice(make: float, keep: str) -> None:
    """Raises CliError unless both or neither of --make and --keep are given."""
    why = ""
    if 0 < make < 1:
        why = f"--make is {make:g}, and more images than wanted are at least 1 for each."
    elif keep and not make:
        why = f"--keep {keep} has nothing to choose from without --make."
    elif make and not keep:
        why = f"--make {make:g} does not say which images are kept."
    if why:
        raise CliError(why, remedy="Give both, such as --make 2 --keep clip_score.")


def _read(option: str, text: str) -> tuple[int | None, dict[str, int]]:
    parts = inputs.names(text)
    if len(parts) == 1 and "=" not in text and not _is_number(text) and Path(text).exists():
        return None, read_counts(option, text, least=0)
    each: int | None = None
    counts: dict[str, int] = {}
    for part in parts:
        name, has_name, number = part.rpartition("=")
        if has_name:
            counts[name.strip()] = _number(option, number, name.strip(), 0)
        else:
            each = _number(option, part, "")
    if each is None and not any(counts.values()):
        raise CliError(f"{option} {text} asks for no image.", remedy=_FORMS)
    return each, counts


def _number(option: str, text: str, name: str, least: int = 1, remedy: str = _FORMS) -> int:
    text = text.strip()
    number = int(text) if _is_number(text) else -1
    if least <= number <= _MOST:
        return number
    span = f"number in [{least}, {_MOST}]"
    what = f"{text!r} of {name!r} is no {span}" if name else f"{text!r} is no {span} and no file"
    raise CliError(f"{option}: {what}.", remedy=remedy)


def _is_number(text: str) -> bool:
    return text.strip().isascii() and text.strip().isdigit()
