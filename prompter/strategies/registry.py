"""Looks prompt strategies up."""

from collections.abc import Mapping

from prompter import strategies
from prompter.strategy import Strategy
from servicekit.errors import InvalidArgument
from servicekit.registry import registered


def all_strategies() -> Mapping[str, Strategy]:
    """Returns every strategy by its id, sorted."""
    return registered(strategies, "STRATEGY")


def strategy_of(strategy_id: str) -> Strategy:
    """Returns the strategy. Raises InvalidArgument naming the known ones."""
    known = all_strategies()
    if strategy_id not in known:
        raise InvalidArgument(
            f"there is no prompt strategy {strategy_id!r}; known are {', '.join(known)}",
            field="strategy",
            reason="STRATEGY_UNKNOWN",
        )
    return known[strategy_id]
