"""Commands beside a running system: what it cannot honour, and what it lacks, is said with why."""

import json
import shutil
from contextlib import ExitStack

import pytest
from command_line import ROOT, CommandLine
from tests_ports import free_port

from tests.e2e.conftest import up

DIFFUSION = ROOT / "models" / "nano" / "diffusion"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two models that are whole, and one whose weights are a pickle."""
    folder = tmp_path_factory.mktemp("models")
    for model in DIFFUSION.iterdir():
        shutil.copytree(model, folder / model.name)
    for weights in (folder / "pix2pix").rglob("*.safetensors"):
        weights.rename(weights.with_suffix(".bin"))
    return folder


@pytest.fixture(scope="module")
def beside(tmp_path_factory, models):
    """A command line in a folder whose state a system holds, with models of its own."""
    line = CommandLine(tmp_path_factory.mktemp("beside"))
    with ExitStack() as system:
        with pytest.MonkeyPatch.context() as environ:
            environ.setenv("GENERATOR_MODELS_FOLDER", str(models))
            system.enter_context(up(line))
        yield line


def augment(line, photographs, *options):
    return line("augment", photographs / "train", "--per-class", "1", "--out", "new", *options)


def error_of(finished):
    assert "Traceback" not in finished.err
    return json.loads(finished.out)["error"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "variables", "named"),
    [
        (["--device", "cpu"], {}, "CAPTIONER_DEVICE should be cpu"),
        (["--dtype", "bfloat16"], {}, "GENERATOR_DTYPE should be bfloat16"),
        ([], {"GENERATOR_MAX_BATCH": "3"}, "GENERATOR_MAX_BATCH should be 3"),
        ([], {"GENERATOR_MODELS_FOLDER": str(DIFFUSION)}, "GENERATOR_MODELS_FOLDER should be"),
        (["--store", "file:///tmp/another"], {}, "The store should be file:///tmp/another"),
    ],
)
def test_settings_that_the_running_system_does_not_have_are_refused(
    beside, photographs, monkeypatch, options, variables, named
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    finished = augment(beside, photographs, *options, "--json")
    error = error_of(finished)
    assert finished.code == 3
    assert error["reason"] == "OTHER_SETTINGS"
    assert named in error["message"] and "was started with" in error["message"]
    assert "Stop that system" in error["remedy"]
    assert not (beside.folder / "new").exists()


@pytest.mark.slow
@pytest.mark.parametrize("command", [["up"], ["clean", "--yes"]], ids=lambda words: words[0])
def test_who_wants_the_state_for_itself_is_told_who_has_it(beside, command):
    ports = ["--port-base", str(free_port())] if command == ["up"] else []
    finished = beside(*command, *ports, "--json")
    assert finished.code == 3
    assert "is in use by" in error_of(finished)["message"]


@pytest.mark.slow
def test_a_method_whose_model_was_refused_says_why(beside, photographs, models, monkeypatch):
    monkeypatch.setenv("GENERATOR_MODELS_FOLDER", str(models))
    finished = augment(beside, photographs, "--method", "mvc", "--json")
    error = error_of(finished)
    assert finished.code == 3
    assert error["reason"] == "MODEL_REFUSED"
    assert "'pix2pix', which the generator refuses" in error["message"]
    assert "safetensors" in error["message"]
    assert augment(beside, photographs, "--method", "simple", "--yes").code in (0, 5)
