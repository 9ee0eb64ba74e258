"""What names the objects of a store, of which kind they are, and how `variegate gc` finds out."""

import io
import json
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gateway.cli import references as documents
from gateway.cli.failures import CliError
from gateway.cli.garbage import collecting, ledger
from gateway.cli.references import references
from servicekit.storage import KINDS, DirectoryStore, Entry, Keep, MemoryStore, kind_of
from tests.gateway.pictures import picture
from tests.gateway.sweeping import OLD, age, key_of, put_garbage, swept


def test_a_damaged_manifest_is_named_and_nothing_is_freed(tmp_path):
    store = DirectoryStore(tmp_path)
    garbage = put_garbage(store)
    store.put("datasets/pets/manifest.parquet", b"PAR1")
    age(store)
    with pytest.raises(CliError, match=r"datasets/pets/manifest.parquet in the store is damaged"):
        swept(store)
    assert all(map(store.exists, garbage))


class Listed(MemoryStore):
    """Lists many images, of which a manifest names half, without holding a name of them."""

    def __init__(self, count):
        super().__init__()
        self._count, self.discarded = count, 0
        names = pa.array(f"store:{self._key(number)}" for number in range(0, count, 2))
        table, buffer = pa.table({"image_uri": names}), io.BytesIO()
        pq.write_table(table, buffer)
        self.put("datasets/pets/augmentations/a1/manifest.parquet", buffer.getvalue())

    def _key(self, number):
        return f"generated/{number % 256:02x}/{number % 256:02x}{number:062x}.png"

    def entries(self, prefix):
        yield from super().entries(prefix)
        if "generated/".startswith(prefix):
            yield from (Entry(self._key(number), 1, OLD) for number in range(self._count))

    def discard(self, key, before):
        self.discarded += 1
        return True


def test_the_memory_that_it_takes_does_not_grow_with_the_store(monkeypatch):
    for module, name in ((ledger, "_ROWS"), (collecting, "_WINDOW"), (documents, "_ROWS")):
        assert getattr(module, name) > 64
        monkeypatch.setattr(module, name, 64)
    peaks, counts = [], (500, 2500)
    for count in counts:
        store = Listed(count)
        tracemalloc.start()
        found = swept(store)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert found.discarded == store.discarded == count // 2
    a_name = len(key_of(""))
    assert peaks[1] - peaks[0] < (counts[1] - counts[0]) * a_name / 4, "of names that are held"


def test_the_parts_of_an_index_go_once_it_is_built(tmp_path):
    store = DirectoryStore(tmp_path)
    part = f"indexes/pool/shards/{'ab' * 12}/000000.json"
    store.put(part, json.dumps({"image": f"store:{key_of('member', 'images')}"}).encode())
    store.put(key_of("member", "images"), picture("member"))
    age(store)
    assert swept(store).discarded == 0
    store.put("indexes/pool/index.json", b"{}")
    assert swept(store).discarded == 2


def test_uris_in_messages_end_where_their_texts_do():
    from variegate.trainer.v1 import trainer_pb2 as pb

    run = pb.TrainingRun(synthetic_manifest_uri="store:synthetic/a.parquet", batch_size=50)
    request = pb.CreateTrainingRunRequest(training_run=run, training_run_id="r0")
    for found in (run, request):
        data = io.BytesIO(found.SerializeToString())
        assert "synthetic/a.parquet" in set(references(data, "call.pb"))


def test_kinds_do_not_overlap_in_what_is_deleted():
    keys = [key_of("a"), key_of("a", "images"), "datasets/pets/images/ab/ab0.png"]
    for key in keys:
        matching = [kind for kind in KINDS if kind.pattern.fullmatch(key)]
        assert len(matching) == 1
    assert kind_of("indexes/pool/shards/ab/0.parquet").keep is Keep.PARTS
    assert kind_of("generated/ab/cd0.png") is None and kind_of("photos/cat/1.png") is None
