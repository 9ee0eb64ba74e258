"""Retrieval through the gateway's real server, in front of a small deterministic pool."""

import hashlib
import sqlite3

import pyarrow.parquet as pq

from servicekit.errors import Exhausted
from servicekit.storage import to_key
from tests.gateway.doubles import Trouble
from tests.gateway.full_store import FullStore
from tests.gateway.pictures import write_pool
from tests.gateway.system import open_system, rows_of


async def test_retrieval_takes_no_image_twice_and_reports_shortfalls(folders):
    root, train, test = folders
    pool = write_pool(root / "pool.parquet")
    async with open_system(root / "state", root) as system:
        await system.import_folder(train, test)
        some = await system.augment("a1", method="retrieval", pool_uri=f"file://{pool}")
        all_ = await system.augment(
            "a2", method="retrieval", pool_uri=f"file://{pool}", images_per_class=30
        )
        rows = rows_of(system.store, some.result.manifest_uri)
    assert some.result.accepted_count == 6 and not some.result.shortfalls
    assert len({row["sha256"] for row in rows}) == 6
    assert {row["source"] for row in rows} == {"retrieved"}
    assert all(not row["parents"] for row in rows)
    assert all_.result.accepted_count == 40
    assert all_.result.shortfalls
    assert all("passed the filters" in s.reason for s in all_.result.shortfalls)


async def test_retrieval_searches_no_further_than_one_search_goes_and_says_so(folders, monkeypatch):
    root, train, test = folders
    monkeypatch.setattr("gateway.augment.searching.HITS_PER_SEARCH", 20)
    pool = write_pool(root / "pool.parquet")
    async with open_system(root / "state", root) as system:
        await system.import_folder(train, test)
        made = await system.augment(
            method="retrieval", pool_uri=f"file://{pool}", images_per_class=25
        )
        asked = system.doubles["retriever"].asked
    assert asked == [20, 20], "a search that finds nothing new is not made"
    assert {one.reason for one in made.result.shortfalls} == {
        "of the 20 nearest images of the pool no others passed the filters"
    }


async def test_a_pool_is_indexed_anew_for_another_encoder(folders):
    root, train, test = folders
    pool = f"file://{write_pool(root / 'pool.parquet')}"
    async with open_system(root / "state", root) as system:
        await system.import_folder(train, test)
        retriever = system.doubles["retriever"]
        for name, encoder in (("a1", "double-clip"), ("a2", "double-clip"), ("a3", "newer-clip")):
            retriever.encoder = encoder
            made = await system.augment(name, method="retrieval", pool_uri=pool)
            assert made.result.accepted_count == 6
    first, second, third = retriever.indexes
    assert first == second != third


async def test_retrieval_keeps_to_beautiful_images_where_the_pool_says_which_are(folders):
    root, train, test = folders
    pool = write_pool(root / "pool.parquet")
    table = pq.read_table(pool)
    scores = [4 + row % 2 for row in range(table.num_rows)]
    pq.write_table(table.append_column("aesthetic", [scores]), pool)
    beautiful = {
        hashlib.sha256(row["image"]["bytes"]).hexdigest() for row in table.to_pylist()[1::2]
    }
    async with open_system(root / "state", root) as system:
        await system.import_folder(train, test)
        made = await system.augment(
            method="retrieval", pool_uri=f"file://{pool}", images_per_class=8
        )
        rows = rows_of(system.store, made.result.manifest_uri)
    assert len(rows) == 16
    assert {row["sha256"] for row in rows} <= beautiful


async def test_retrieval_never_returns_an_image_of_the_dataset(folders):
    root, train, test = folders
    pool = write_pool(root / "pool.parquet", count=4)
    table = pq.read_table(pool).to_pylist()
    (test / "cat" / "leak.png").write_bytes(table[0]["image"]["bytes"])
    async with open_system(root / "state", root) as system:
        await system.import_folder(train, test)
        made = await system.augment(
            method="retrieval", pool_uri=f"file://{pool}", images_per_class=4
        )
        rejected = rows_of(system.store, made.result.rejected_uri)
    assert made.result.accepted_count == 7
    assert [row["reason"] for row in rejected] == ["EXACT_DUPLICATE"]


async def test_what_replaces_a_retrieved_image_of_the_safety_sample_is_checked_too(folders):
    root, train, test = folders
    pool = write_pool(root / "pool.parquet")
    trouble = Trouble(unsafe_share=0.3)
    async with open_system(root / "state", root, trouble=trouble) as system:
        await system.import_folder(train, test)
        made = await system.augment(
            method="retrieval",
            pool_uri=f"file://{pool}",
            images_per_class=8,
            check_safety=False,
            safety_sample_count=12,
        )
        accepted = rows_of(system.store, made.result.manifest_uri)
        rejected = rows_of(system.store, made.result.rejected_uri)
    checked = {uri for uri, was_checked in trouble.candidates if was_checked}
    assert len(accepted) == 16
    assert any(row["image_uri"] in checked for row in rejected), "nothing was replaced"
    for name in ("cat", "dog"):
        ranks = [row["image_uri"] in checked for row in accepted if row["class_name"] == name]
        assert sum(ranks) == 6, "the sample is whole"


async def test_retrieval_goes_on_with_what_was_found_and_judged(folders, monkeypatch):
    """The store is full when this is to be written, one after the other, and it is asked again."""
    words = "/1/hits/1", "/1/outcomes/0/000002", "/2/hits/0", "/2/outcomes/0/000000", ".accepted."
    root, train, test = folders
    monkeypatch.setattr("gateway.augment.searching._SHARD", 2)
    monkeypatch.setattr("gateway.augment.searching._BLOCK", 6)
    pool = write_pool(root / "pool.parquet")
    done = []
    for full in ((), words):
        trouble, state = Trouble(unsafe_share=0.3), root / f"full {len(full)}"
        async with open_system(state, root, trouble=trouble, wrap=FullStore) as system:
            await system.import_folder(train, test)
            system.store.error = Exhausted("no space left")
            for word in (*full, ""):
                system.store.word = word
                made = await system.augment(
                    method="retrieval", pool_uri=f"file://{pool}", images_per_class=12
                )
                assert not word or "no space left" in made.error.message
            uris = made.result.manifest_uri, made.result.rejected_uri
            files = [system.store.get(to_key(uri)) for uri in uris]
            asked = system.doubles["retriever"].asked
        done.append((files, asked, len(trouble.candidates)))
    (calm, calm_asked, calm_screened), (found, asked, screened) = done
    assert found == calm
    assert asked[-1] > asked[0], "it searched once only"
    # What was written down is asked for once; what could not be written, and what was under way
    # beside it, once more.
    assert len(asked) == len(calm_asked) + 2
    assert calm_screened < screened <= calm_screened + 4 * 6


async def test_the_database_holds_no_more_for_many_retrieved_images_than_for_few(folders):
    root, train, _ = folders
    pool = write_pool(root / "pool.parquet", count=100)
    sizes = []
    async with open_system(root / "state", root, wrap=FullStore) as system:
        await system.import_folder(train)
        system.store.word, system.store.error = "manifest.parquet", Exhausted("no space left")
        for name, count in (("few", 5), ("many", 90)):
            await system.augment(
                name, method="retrieval", pool_uri=f"file://{pool}", images_per_class=count
            )
            with sqlite3.connect(root / "state" / "gateway.sqlite") as database:
                query = "SELECT sum(length(output)), count(*) FROM operation_outputs"
                sizes.append(database.execute(query).fetchone())
    (few, rows), (both, twice) = sizes
    assert twice == 2 * rows, "a step for each search or screening"
    assert both - 2 * few < 300, "170 images more"
