"""A store in front of another, which has no room when a test says so."""


class FullStore:
    """A store that runs out of space, or goes away, for keys that contain a word."""

    def __init__(self, store):
        self.store, self.word, self.error = store, "", None

    def __getattr__(self, name):
        return getattr(self.store, name)

    def put(self, key, data, *, overwrite=False):
        self.check(key)
        return self.store.put(key, data, overwrite=overwrite)

    def put_chunks(self, key, chunks):
        self.check(key)
        self.store.put_chunks(key, chunks)

    def check(self, key):
        if self.word and self.word in key:
            raise self.error
