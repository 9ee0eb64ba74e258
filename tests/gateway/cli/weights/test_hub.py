"""Models of a hub, fetched by the command as a Job runs it, with the real huggingface_hub."""

import json
import os
import subprocess
import sys
import time

import pytest

from gateway.cli.main import main
from tests.gateway.cli.weights.hub import COMMIT, safetensors

MODEL = {
    "config.json": b'{"model_type": "tiny"}',
    "tokenizer/merges.txt": b"a b\n",
    "unet/model.safetensors": safetensors(300_000),
    "pytorch_model.bin": b"PK pickled",
    "README.md": b"# A model",
}
READ = {name for name in MODEL if name.endswith((".json", ".txt", ".safetensors"))}


@pytest.fixture
def arguments(tmp_path):
    """Writes a list of (folder, source, further keys) and returns the command's arguments."""

    def write(*entries):
        models = [{"folder": folder, "source": source, **rest} for folder, source, rest in entries]
        (tmp_path / "list.json").write_text(json.dumps({"models": models}))
        return ["fetch", str(tmp_path / "list.json"), "--into", str(tmp_path / "models")]

    return write


@pytest.fixture
def fetch(asked_hub, arguments, monkeypatch, capsys):
    """Runs the command and returns its exit code and what it said."""
    monkeypatch.setenv("COLUMNS", "300")

    def run(*entries, token=""):
        monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(SystemExit) as end:
            main(arguments(*entries))
        return end.value.code, *capsys.readouterr()

    return run


def start(hub, arguments, folder):
    """Starts the command as a Job does: what it needs to know is in its environment."""
    environ = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(folder)}
    environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    environ.pop("HF_HUB_OFFLINE", None)
    command = [sys.executable, "-m", "gateway.cli.main", *arguments]
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_model_comes_without_its_pickles_and_a_second_run_fetches_nothing(hub, fetch, tmp_path):
    hub.models["own/tiny"] = MODEL
    hub.breaks["unet/model.safetensors"] = 100_000
    model = ("diffusion/text", "hub:own/tiny@main", {})
    code, out, err = fetch(model)
    assert code == 0, err
    place = tmp_path / "models/diffusion/text"
    there = {p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file()}
    assert there == {*READ, "SHA256SUMS", ".fetched"}
    assert all((place / name).read_bytes() == MODEL[name] for name in READ)
    # The connection broke, and what had come was not asked for again.
    assert [start for name, start in hub.reads if name.endswith("safetensors")] == [0, 100_000]
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    assert subprocess.run(check, cwd=place).returncode == 0
    assert json.loads((place / ".fetched").read_text())["version"] == COMMIT
    hub.reads.clear()
    code, out, _ = fetch(model)
    assert code == 0 and "nothing had to be fetched" in out and not hub.reads


def test_what_a_killed_run_left_is_gone_on_with_and_never_taken_for_whole(
    hub, fetch, arguments, tmp_path
):
    hub.models["own/tiny"] = {**MODEL, "unet/model.safetensors": safetensors(8_000_000)}
    hub.slow = 0.02
    model = ("text", "hub:own/tiny@main", {})
    process = start(hub, arguments(model), tmp_path)
    part = tmp_path / "models/.fetch/text/unet/model.safetensors.part"
    while not part.exists() or part.stat().st_size < 500_000:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert not (tmp_path / "models/text").exists()
    held = part.stat().st_size
    hub.slow = 0.0
    hub.reads.clear()
    code, out, err = fetch(model)
    assert code == 0 and f"goes on at {held:,} of" in out, err
    assert ("unet/model.safetensors", held) in hub.reads
    place = tmp_path / "models/text"
    assert (place / "unet/model.safetensors").read_bytes() == safetensors(8_000_000)
    assert [path.name for path in (tmp_path / "models/.fetch").iterdir()] == ["lock"]


def test_every_refusal_says_what_to_do_and_keeps_no_other_model_away(hub, fetch, tmp_path):
    pickles = {"config.json": b"{}", "pytorch_model.bin": b"PK"}
    hub.models |= {"own/tiny": MODEL, "own/gated": MODEL, "own/pickles": pickles}
    hub.models["own/fake"] = {"model.safetensors": b"\x80\x04 a pickle under another name"}
    hub.gated.add("own/gated")
    hub.token = "secret"
    models = (
        ("absent", "hub:own/absent@main", {}),
        ("moved", "hub:own/tiny@v7", {}),
        ("gated", "hub:own/gated@main", {}),
        ("pickles", "hub:own/pickles@main", {}),
        ("fake", "hub:own/fake@main", {}),
        ("other", "hub:own/tiny@main", {"sha256": "0" * 64}),
        ("text", "hub:own/tiny@main", {"files": ["unet/*"]}),
    )
    code, out, _ = fetch(*models, token="secret")
    assert code == 3
    for folder, words in (
        ("absent", "correct its name, or, if it is private, set HF_TOKEN"),
        ("moved", "own/tiny has no revision v7; name another"),
        ("gated", f"accept them at {hub.url}/own/gated"),
        ("pickles", "no *.safetensors among the wanted files; other weights are pickles"),
        ("fake", "model.safetensors is not in the form that its name says"),
        ("other", f"but the list says {'0' * 64}"),
    ):
        [line] = [one for one in out.splitlines() if one.startswith(f"{folder}: ") and words in one]
        assert not (tmp_path / "models" / folder).exists(), line
    assert {p.name for p in (tmp_path / "models/text/unet").iterdir()} == {"model.safetensors"}
    assert not any(path.suffix == ".bin" for path in tmp_path.rglob("*"))


def test_a_hub_that_is_down_or_wants_a_token_is_named(hub, fetch):
    hub.models["own/tiny"], hub.token = MODEL, "secret"
    code, _, err = fetch(("text", "hub:own/tiny@main", {}))
    assert code == 3 and "(401)" in err and "set HF_TOKEN" in err
    hub.failures = [503]
    code, _, err = fetch(("text", "hub:own/tiny@main", {}), token="secret")
    assert code == 4 and f"hub {hub.url} answered 503" in err.lower()


def test_a_file_that_is_not_what_the_hub_says_is_refused_after_a_second_try(hub, fetch, tmp_path):
    hub.models["own/tiny"] = MODEL
    good = MODEL["unet/model.safetensors"]
    hub.wrong["unet/model.safetensors"] = good[:-1] + b"!"
    code, _, err = fetch(("text", "hub:own/tiny@main", {}))
    assert code == 3 and "unet/model.safetensors has the SHA-256" in err and "twice in a row" in err
    assert not (tmp_path / "models/text").exists()
    assert len([name for name, _ in hub.reads if name.endswith("safetensors")]) == 2
