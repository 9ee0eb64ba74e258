"""What the environment says of where a part runs."""

import os
from collections.abc import Sequence

from servicekit.errors import Precondition


def chosen(key: str, places: Sequence[str]) -> str:
    """Returns the place that the variable `key` names, the first of `places` by default.

    Raises Precondition if it names another.
    """
    place = os.environ.get(key) or places[0]
    if place not in places:
        raise Precondition(
            f"{key} is {place!r}; use {' or '.join(places)}", subject=key, reason=f"BAD_{key}"
        )
    return place
