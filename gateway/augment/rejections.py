"""What a person looked at and rejected: a reason like that of a filter."""

import io
from collections.abc import Set

import pyarrow as pa
import pyarrow.parquet as pq

from servicekit.errors import InvalidArgument
from servicekit.storage import ObjectStore, to_key

BY_PERSON = "BY_PERSON"
MESSAGE = "a person rejected it"

_COLUMN = "item_id"


def read_rejections(store: ObjectStore, uri: str, field: str = "rejections_uri") -> Set[str]:
    """Returns the ids of the items that a person rejected; none for an empty `uri`.

    The object is a parquet file with a text column `item_id`. Raises InvalidArgument with the
    reason REJECTIONS_MISSING if there is none, and BAD_REJECTIONS for anything else.
    """
    if not uri:
        return frozenset()
    key = to_key(uri, field)
    if not store.exists(key):
        raise InvalidArgument(
            f"there are no rejections {uri} in the store; put them there first",
            field=field,
            reason="REJECTIONS_MISSING",
        )
    try:
        column = pq.read_table(io.BytesIO(store.get(key)), columns=[_COLUMN]).column(0)
        return frozenset(map(str, column.cast(pa.string()).drop_null().to_pylist()))
    except (pa.ArrowException, OSError, IndexError) as error:
        why = str(error).splitlines()[0] if str(error) else "it has no such column"
        raise InvalidArgument(
            f"{uri} is not a parquet file with a text column {_COLUMN}: {why}",
            field=field,
            reason="BAD_REJECTIONS",
        ) from error
