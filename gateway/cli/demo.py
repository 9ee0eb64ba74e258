"""The shipped demo: where its photographs lie, and what it compares."""

import importlib.util
from pathlib import Path

from gateway.cli.failures import CliError

# What fits the few minutes of a first try on two cores; --full compares all methods.
SHORT = ("mvc", "retrieval")
SHORT_SEEDS, FULL_SEEDS = 3, 5
SHOTS, PER_CLASS = 20, 40


def folder() -> Path:
    """The folder of the demo's parquet files. Raises CliError if they are not installed."""
    # Found by name: the models' package belongs to no service, so none imports it.
    spec = importlib.util.find_spec("models.nano")
    places = list(spec.submodule_search_locations or []) if spec else []
    for place in places:
        demo = Path(place) / "demo"
        if (demo / "target.parquet").is_file():
            return demo
    raise CliError(
        "The demo's photographs are not installed.",
        exit_code=3,
        remedy="Run `make setup` in a checkout, or install the package again.",
        reason="DEMO_MISSING",
    )
