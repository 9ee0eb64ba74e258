"""The weights of variants in the object store."""

from generator.engine.errors import UnknownVariant
from generator.engine.variants import Fetch
from servicekit.errors import NotFound
from servicekit.storage import ObjectStore, to_key


def fetch_from(store: ObjectStore) -> Fetch:
    """Returns the function with which the engine fetches a variant's bytes."""

    def fetch(uri: str) -> bytes:
        try:
            return store.get(to_key(uri, "variant.uri"))
        except NotFound as error:
            raise UnknownVariant(uri) from error

    return fetch
