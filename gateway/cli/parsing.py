"""How a command reads its words, and how it explains them."""

from collections import Counter
from typing import Any

from typer.core import TyperCommand, TyperGroup, TyperOption

from gateway.cli.help import help_of, name_of


class Command(TyperCommand):
    """A command that refuses an option given twice, unless it collects its values, or given empty.

    Otherwise the last one would win, and what was asked for first would be lost without a word; and
    an empty value, as of a shell's variable that is not set, would be none.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the arguments. Wrong usage if an option of one value is given again, or empty."""
        values, _, order = self.make_parser(ctx).parse_args(list(args))
        for parameter in order:
            given = values[parameter.name]
            if any(isinstance(one, str) and not one.strip(" ,") for one in _listed(given)):
                name = (
                    parameter.opts[0] if isinstance(parameter, TyperOption) else name_of(parameter)
                )
                ctx.fail(f"{name} is given an empty value; give it one, or leave it out.")
        for parameter, times in Counter(order).items():
            if isinstance(parameter, TyperOption) and times > 1 and _is_single(parameter):
                names = "/".join([*parameter.opts, *parameter.secondary_opts])
                ctx.fail(f"{names} is given {times} times, and only one counts; give it once.")
        return super().parse_args(ctx, args)

    def get_help(self, ctx: Any) -> str:
        """Returns what --help prints."""
        return help_of(self, ctx)


class Group(TyperGroup):
    """All commands together."""

    def get_help(self, ctx: Any) -> str:
        """Returns what --help prints."""
        return help_of(self, ctx)


def _listed(given: Any) -> list[Any]:
    return given if isinstance(given, list) else [given]


def _is_single(option: TyperOption) -> bool:
    """Eager ones, as --help, answer at once however often they are given."""
    return not (option.multiple or option.count or option.is_eager)
