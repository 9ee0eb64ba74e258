"""`variegate clean`: what outputs need stays, the rest is freed and is made again."""

import shutil

import pytest

from tests.e2e.conftest import up

pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]


def objects(state, top):
    return sorted(p.relative_to(state) for p in (state / "objects" / top).rglob("*.*"))


def test_clean_frees_what_no_output_needs_and_all_goes_on(variegate, photographs, tmp_path):
    state, outside = tmp_path / ".variegate", tmp_path / "outside"
    data, test = photographs / "train", photographs / "test"

    def augment(out, seed, *more):
        return variegate(
            "augment", data, "--method", "simple", "--per-class", "2", "--steps", "2",
            "--seed", str(seed), "--out", out, "--json", *more,
        )  # fmt: skip

    with up(variegate):
        kept, lost = augment("kept", 1), augment("lost", 2)
    assert kept.code == 0, kept.err
    assert lost.code == 0, lost.err
    before = objects(state, "generated")
    nothing = variegate("clean", "--dry-run", "--json").json()
    assert nothing["free"] == []
    assert objects(state, "generated") == before

    shutil.rmtree(tmp_path / "lost")
    outside.mkdir()
    (outside / "precious.png").write_bytes(b"not ours")
    (state / "objects" / "generated" / "link").symlink_to(outside)
    (state / "objects" / "generated" / "link.png").symlink_to(outside / "precious.png")
    (state / "objects" / ".staging" / "half").write_bytes(b"half")
    refused = variegate("clean")
    assert refused.code == 2
    assert "--yes" in refused.err

    cleaned = variegate("clean", "--yes", "--json")
    assert cleaned.code == 0, cleaned.err
    document = cleaned.json()
    assert document["free"] == [lost.json()["augmentation"]]
    assert document["gone_outputs"] == [str(tmp_path / "lost")]
    assert document["kinds"]["generated images"]["file_count"] == 6
    assert not (state / "objects" / ".staging" / "half").exists()
    assert (outside / "precious.png").read_bytes() == b"not ours"
    assert (state / "objects" / "generated" / "link").is_symlink()

    with up(variegate):
        again = augment("kept", 1, "--resume").json()
        trained = variegate(
            "train", data, "--test", test, "--synthetic", "kept", "--seeds", "1",
            "--train-steps", "5", "--no-compare", "--json",
        )  # fmt: skip
        made = augment("lost", 2)
    assert again["digest"] == kept.json()["digest"]
    assert trained.code == 0, trained.err
    assert trained.json()["rows"][0]["synthetic_image_count"] == 6
    assert made.code == 0, made.err
    assert made.json()["digest"] == lost.json()["digest"]
