"""Prints the figures: `python -m benchmarks.gpu [--device cpu] [--tiny]`."""

import argparse
import json
import sys

from benchmarks.gpu import measure
from servicekit.errors import Precondition


def main() -> int:
    """Measures on the chosen device; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument(
        "--tiny", action="store_true", help="models of a few kilobytes, to see that all runs"
    )
    options = parser.parse_args()
    try:
        print(json.dumps(measure(options.device, tiny=options.tiny), indent=2))
    except Precondition as error:
        print(f"gpu: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
