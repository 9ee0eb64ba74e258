"""The prompt strategies: every module of this folder defines one as STRATEGY."""

import importlib
import pkgutil

from prompter.strategy import Strategy
from servicekit.errors import InvalidArgument


def load_strategies() -> dict[str, Strategy]:
    """Returns all strategies by id, sorted."""
    modules = [
        importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)
    ]
    strategies: list[Strategy] = [module.STRATEGY for module in modules]
    return {strategy.id: strategy for strategy in sorted(strategies, key=lambda s: s.id)}


def find_strategy(strategies: dict[str, Strategy], strategy_id: str) -> Strategy:
    """Returns the strategy. Raises InvalidArgument naming the known ones."""
    if strategy_id not in strategies:
        raise InvalidArgument(
            f"there is no prompt strategy {strategy_id!r}; known are {', '.join(strategies)}",
            field="strategy",
            reason="STRATEGY_UNKNOWN",
        )
    return strategies[strategy_id]
