"""More made than wanted: the best are kept by a score, and the others listed with theirs."""

import json

import grpc
import numpy as np
import pyarrow as pa
import pytest
from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.augment.choice import Choice
from servicekit.errors import Exhausted
from servicekit.statuses import from_rpc_error
from servicekit.storage import to_key
from tests.gateway.doubles import Trouble
from tests.gateway.full_store import FullStore
from tests.gateway.pictures import write_pool
from tests.gateway.system import open_system, rows_of

BEST = {"make_factor": 2.0, "keep": "clip_score"}


def choice_of(row):
    return json.loads(row["lineage"])["choice"]


async def test_the_best_are_kept_and_the_others_listed_with_their_scores(folders):
    root, train, _ = folders
    async with open_system(root / "state", root) as system:
        await system.import_folder(train)
        every = await system.augment("every", images_per_class=6)
        count = system.trouble.made
        best = await system.augment("best", images_per_class=3, **BEST)
        assert system.trouble.made == count, "an image was made twice"
        whole, kept, left = (
            rows_of(system.store, uri)
            for uri in (
                every.result.manifest_uri,
                best.result.manifest_uri,
                best.result.kept.unkept_uri,
            )
        )
        # As if it had run alone: but for what the choice says, the rows are the same.
        for row in (*kept, *left):
            [same] = [one for one in whole if one["item_id"] == row["item_id"]]
            assert json.loads(same["lineage"]) == _without_choice(row)
    assert best.result.accepted_count == len(kept) == 6 and not best.result.shortfalls
    assert best.result.rejected_count == 0 and len(left) == 6
    for name in ("cat", "dog"):
        ours, others = ([r for r in rows if r["class_name"] == name] for rows in (kept, left))
        ranked = sorted((*ours, *others), key=lambda row: -row["clip_score"])
        assert {r["item_id"] for r in ranked[:3]} == {r["item_id"] for r in ours}
        assert [choice_of(row)["rank"] for row in ranked] == [1, 2, 3, 4, 5, 6]
        assert [choice_of(row)["kept"] for row in ranked] == [True] * 3 + [False] * 3
        assert {choice_of(row)["of"] for row in ranked} == {6}
        indexes = [json.loads(row["lineage"])["index"] for row in ours]
        assert indexes == sorted(indexes), "the manifest is in the order of the plan"


def _without_choice(row):
    return {name: value for name, value in json.loads(row["lineage"]).items() if name != "choice"}


async def test_the_report_says_what_the_choice_did_to_scores_and_diversity(folders):
    root, train, _ = folders
    async with open_system(root / "state", root) as system:
        await system.import_folder(train)
        made = await system.augment(images_per_class=3, **BEST)
        kept = made.result.kept
        rows = rows_of(system.store, made.result.manifest_uri)
        left = rows_of(system.store, kept.unkept_uri)
    scores = [[row["clip_score"] for row in some] for some in (rows, rows + left)]
    assert (kept.made_count, kept.kept_count, kept.score) == (12, 6, "clip_score")
    assert kept.kept_score == pytest.approx(np.mean(scores[0]), abs=1e-6)
    assert kept.made_score == pytest.approx(np.mean(scores[1]), abs=1e-6)
    assert 0 < kept.made_distance < 2 and kept.kept_distance != kept.made_distance
    [notice] = [text for text in made.result.notices if "are kept by clip_score" in text]
    assert "of 12 images made 6" in notice and f"{kept.kept_distance:.3f}" in notice


async def test_a_choice_in_a_mix_keeps_the_shares_and_goes_on_where_the_store_was_full(folders):
    root, train, _ = folders
    pool = f"file://{write_pool(root / 'pool.parquet', count=30)}"
    wanted = {"method": "mvc:0.5,retrieval:0.5", "pool_uri": pool, "images_per_class": 6, **BEST}
    done = []
    for words in ((), ("/1/0/", "unkept.parquet", "manifest.parquet")):
        state, trouble = root / f"full {len(words)}", Trouble(unsafe_share=0.1)
        async with open_system(state, root, trouble=trouble, wrap=FullStore) as system:
            await system.import_folder(train)
            system.store.error = Exhausted("no space left")
            for word in (*words, ""):
                system.store.word = word
                made = await system.augment(**wanted, check_safety=True)
                assert not word or "no space left" in made.error.message
            uris = made.result.manifest_uri, made.result.kept.unkept_uri, made.result.rejected_uri
            done.append([system.store.get(to_key(uri)) for uri in uris])
            rows = [row for uri in uris for row in rows_of(system.store, uri)]
        assert trouble.made == sum(row["method"] == "mvc" for row in rows), "made twice"
        kept = rows_of(system.store, uris[0])
    assert done[0] == done[1]
    assert [row["method"] for row in kept] == ["mvc", "retrieval"] * 6
    assert {choice_of(row)["of"] for row in kept} == {6}


async def test_too_few_to_choose_from_are_all_kept(folders):
    root, train, _ = folders
    trouble = Trouble(same_pixels=True)
    async with open_system(root / "state", root, trouble=trouble) as system:
        await system.import_folder(train)
        made = await system.augment(images_per_class=1, **BEST)
    assert made.result.accepted_count == 1
    assert made.result.kept.made_count == 1
    assert [(s.class_name, s.made_count, s.wanted_count) for s in made.result.shortfalls] == [
        ("dog", 0, 1)
    ]


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"make_factor": 2.0, "keep": "beauty"}, "keep", "there are clip_score, unsafe_score"),
        ({"make_factor": 2.0}, "make_factor", "give both"),
        ({"keep": "clip_score"}, "make_factor", "give both"),
        ({"make_factor": 0.5, "keep": "clip_score"}, "make_factor", "from 1 to 20"),
        ({"make_factor": 21.0, "keep": "clip_score"}, "make_factor", ""),
        ({"make_factor": 2.0, "keep": "unsafe_score"}, "keep", "without check_safety"),
    ],
)
async def test_a_choice_that_cannot_be_made_is_refused(folders, fields, field, words):
    root, train, _ = folders
    async with open_system(root / "state", root) as system:
        await system.import_folder(train)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await system.start(**fields)
        error = from_rpc_error(caught.value)
        assert error.code.name == "INVALID_ARGUMENT" and words in error.message
        assert error.field == f"augmentation.{field}"


async def test_the_plan_says_how_many_are_made(folders):
    root, train, _ = folders
    wanted = pb.Augmentation(method="mvc", images_per_class=10, make_factor=1.1, keep="clip_score")
    request = pb.PlanAugmentationRequest(parent="datasets/pets", augmentation=wanted)
    async with open_system(root / "state", root) as system:
        await system.import_folder(train)
        plan = await system.stub.PlanAugmentation(request, timeout=10)
    assert (plan.image_count, plan.made_count) == (20, 22)


def test_of_equal_scores_the_lower_number_is_kept_and_unsafe_ones_go_last():
    columns = {"label": [1, 1, 1, 0], "_index": [4, 0, 2, 0], "unsafe_score": [0.1, 0.5, 0.1, 0.9]}
    table = pa.table(columns)
    choice = Choice.of([table], "unsafe_score", {0: 1, 1: 1})
    assert choice.kept(table).to_pylist() == [
        {"label": 1, "_index": 0, "unsafe_score": 0.1},
        {"label": 0, "_index": 0, "unsafe_score": 0.9},
    ]
    assert choice.classes[1].ranks.tolist() == [3, 1, 2]
    assert len(choice.left(table)) == 2
    assert Choice.of([], "clip_score", {}).classes == {}
