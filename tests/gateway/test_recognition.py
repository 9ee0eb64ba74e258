"""Whether the images made show their classes, as CLIP sees it, and where that means nothing."""

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.augment import recognising
from gateway.augment.lengths import lengths_of, most_of_name, shorter_names
from gateway.augment.recognition import ClassRecognition, together, warnings_of, worst_first
from gateway.clients.retriever import Retriever
from gateway.digests import digest
from tests.gateway.pictures import write_folder
from tests.gateway.system import open_system, rows_of


def seen(name="cat", real=(60, 64), made=(60, 64), classes=10):
    return ClassRecognition(name, real[1], real[0], made[1], made[0], classes)


@pytest.mark.parametrize(
    ("real", "made", "classes", "verdict"),
    [
        ((60, 64), (60, 64), 10, "found"),
        ((60, 64), (55, 64), 10, "found"),  # 8 points
        ((60, 64), (5, 64), 10, "lost"),
        ((60, 64), (0, 64), 10, "lost"),
        ((6, 64), (0, 64), 10, "unknown"),  # chance is 1 in 10
        ((0, 64), (64, 64), 10, "unknown"),
        ((20, 64), (0, 64), 1000, "lost"),
        ((36, 64), (10, 64), 2, "unknown"),  # chance is 1 in 2
        ((4, 4), (0, 4), 10, "lost"),
        ((4, 4), (2, 4), 10, "found"),  # so few images may differ by chance
        ((1, 1), (0, 1), 10, "found"),
        ((0, 0), (3, 3), 10, "unknown"),
        ((60, 64), (0, 0), 10, "found"),
    ],
)
def test_a_class_is_lost_only_beyond_chance_and_only_where_clip_knows_it(
    real, made, classes, verdict
):
    assert seen(real=real, made=made, classes=classes).verdict == verdict


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 64), st.integers(2, 100), st.data())
def test_a_class_is_never_lost_by_fifteen_points_or_less(count, classes, data):
    real = data.draw(st.integers(0, count))
    made = data.draw(st.integers(0, count))
    one = seen(real=(real, count), made=(made, count), classes=classes)
    if one.verdict == "lost":
        assert (real - made) / count > 0.15 and real / count > 1 / classes
    # More found never makes it lost.
    better = seen(real=(real, count), made=(min(made + 1, count), count), classes=classes)
    assert not (better.verdict == "lost" and one.verdict == "found")


def test_the_worst_come_first_and_seeds_are_summed():
    cat, dog = seen("cat", made=(10, 64)), seen("dog")
    assert [one.class_name for one in worst_first([dog, cat])] == ["cat", "dog"]
    [summed, _] = together([[cat, dog], [cat, dog]])
    assert (summed.real_count, summed.made_count, summed.made_found) == (64, 128, 20)
    [warning] = warnings_of([cat, dog])
    assert (
        "CLIP finds 1 of 2 classes far less" in warning
        and "cat: 10 of 64 here, 60 of 64 real" in warning
    )
    [unknown] = warnings_of([seen("x1", real=(6, 64)), dog])
    assert "1 of 2 classes" in unknown and "(x1)" in unknown


@pytest.fixture
def root(tmp_path):
    write_folder(tmp_path / "train", ("cat", "dog", "owl"), count=12)
    return tmp_path


@pytest.mark.parametrize("method", ["mvc", "simple"])
async def test_classes_that_the_models_do_not_know_are_told(root, method):
    async with open_system(root / "state", root) as system:
        system.trouble.clip_knows = "cat"
        await system.import_folder(root / "train")
        operation = await system.start(method=method, images_per_class=12)
        made = await system.finish(operation)
        looked = len(system.trouble.looked)
    cat, *others = made.result.recognition
    assert (cat.class_name, cat.class_count) == ("cat", 3)
    assert (cat.real_found, cat.real_count, cat.made_count) == (12, 12, 12)
    assert cat.Verdict.Name(cat.verdict) == "VERDICT_LOST" and cat.made_found <= 6
    assert {one.Verdict.Name(one.verdict) for one in others} == {"VERDICT_UNKNOWN"}
    assert any(
        "warning: CLIP finds 1 of 3 classes far less" in text for text in made.result.notices
    )
    assert any("no more often than by chance" in text for text in made.result.notices)
    assert looked <= 2 * 3 * 64


async def test_looking_takes_as_much_for_each_class_however_many_there_are(tmp_path, monkeypatch):
    """Twice as many classes are twice as much to hash, and each class's text is embedded once."""
    hashed, embedded = [], []

    def noted(*parts):
        hashed.append(len(json.dumps(parts)))
        return digest(*parts)

    async def embed(self, texts):
        embedded.append(list(texts))
        await asyncio.sleep(0.01)  # Others ask meanwhile.
        return await embed_texts(self, texts)

    embed_texts = Retriever.embed_texts
    monkeypatch.setattr(recognising, "digest", noted)
    monkeypatch.setattr(Retriever, "embed_texts", embed)
    totals = []
    for count in (6, 12):
        root, names = tmp_path / str(count), [f"class{number:02}" for number in range(count)]
        write_folder(root / "train", names, count=1)
        hashed.clear()
        embedded.clear()
        async with open_system(root / "state", root) as system:
            await system.import_folder(root / "train")
            made = await system.augment(method="simple", images_per_class=1)
        assert len(made.result.recognition) == count
        assert [len(texts) for texts in embedded] == [count]
        totals.append(sum(hashed))
    assert totals[1] < 2.1 * totals[0]


async def test_a_single_class_has_nothing_to_be_taken_for(tmp_path):
    write_folder(tmp_path / "train", ("cat",))
    async with open_system(tmp_path / "state", tmp_path) as system:
        await system.import_folder(tmp_path / "train")
        made = await system.augment()
    assert not made.result.recognition and made.result.accepted_count == 3


async def test_the_size_of_the_model_against_that_of_the_data_is_told_before_images_are_made(root):
    async with open_system(root / "state", root) as system:
        await system.import_folder(root / "train")
        system.trouble.model_size = 128
        made = await system.augment()
        assert (
            "warning: your images are 16 x 16 pixels (median), the model 'pix2pix' makes 128 x "
            "128: sizes differ 8.0 times, and they are enlarged"
        ) in made.result.notices
        system.trouble.model_size = 16
        other = await system.augment("a2")
    assert not any("pixels (median)" in text for text in other.result.notices)


async def test_prompts_that_the_text_encoder_cuts_are_counted(root):
    async with open_system(root / "state", root) as system:
        await system.import_folder(root / "train")
        system.trouble.token_limit = 9
        made = await system.augment(method="mvc")  # "This is an image of cat with 3 corners"
        system.trouble.token_limit = 30
        whole = await system.augment("a2", method="simple")
    lengths = made.result.prompt_lengths
    assert (lengths.token_limit, lengths.cut_count) == (9, lengths.prompt_count)
    assert "corners" in lengths.examples[0] and len(lengths.examples) <= 5
    assert any("prompts are longer than the 9 tokens" in text for text in made.result.notices)
    assert whole.result.prompt_lengths.cut_count == 0 < whole.result.prompt_lengths.prompt_count


async def test_a_name_that_the_encoder_would_cut_is_shortened_and_told(tmp_path):
    name = "very long name of a bird that nobody knows"
    write_folder(tmp_path / "train", (name, "dog"))
    async with open_system(tmp_path / "state", tmp_path) as system:
        await system.import_folder(tmp_path / "train")
        system.trouble.token_limit = 14
        made = await system.augment(method="mvc")
        rows = rows_of(system.store, made.result.manifest_uri)
    [notice] = [text for text in made.result.notices if "too long" in text]
    assert repr(name) in notice and "'very long name of a'" in notice
    shown = {row["prompt"] for row in rows if row["class_name"] == name}
    assert all(text.startswith("This is an image of very long name of a with") for text in shown)
    lineages = [json.loads(row["lineage"]) for row in rows if row["class_name"] == name]
    assert {one["display_name"] for one in lineages} == {"very long name of a"}


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(categories=["L", "Zs"]), min_size=1, max_size=200))
def test_shorter_names_are_beginnings_and_get_shorter(text):
    name = " ".join(text.split()) or "x"
    shorter = shorter_names(name)
    assert all(name.startswith(one) and len(one) < len(name) for one in shorter)


def test_lengths_tell_what_is_over_the_limit():
    lengths = lengths_of(["a", "b" * 300, "c"], [3, 80, 77], 77)
    assert (lengths.prompt_count, lengths.cut_count, len(lengths.examples[0])) == (3, 1, 200)
    assert "1 of 3 prompts are longer than the 77 tokens" in lengths.notice("text")
    assert lengths_of(["a"], [3], 77).notice("text") == "" and most_of_name(77) == 38
