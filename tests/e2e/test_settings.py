"""The system that starts here reads the services' settings, and refuses what it cannot honour."""

from pathlib import Path

import pytest

from embedded.configuration import PARTS, Choices, explicit, set_by, texts_of
from servicekit.settings import SettingsError
from tests.e2e.conftest import up

STATE = "st%201?x"


@pytest.fixture
def models(tmp_path) -> Path:
    for part in PARTS.values():
        (tmp_path / "models" / part).mkdir(parents=True, exist_ok=True)
    return tmp_path / "models"


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"GENERATOR_DEVICE": "bogus"}, "GENERATOR_DEVICE is 'bogus'; use auto, cpu"),
        ({"GENERATOR_DTYPE": "float8"}, "GENERATOR_DTYPE is 'float8'; use float32"),
        ({"GENERATOR_MODEL_FOLDER": "x"}, "did you mean GENERATOR_MODELS_FOLDER"),
        ({"CAPTIONER_MODL": "x"}, "did you mean CAPTIONER_MODEL"),
        ({"RETRIEVER_MAX_BATCH": "0"}, "it must be at least 1"),
        ({"GATEWAY_CAPTIONER": "a:1"}, "GATEWAY_CAPTIONER cannot be set"),
        ({"SERVER_PORT": "1"}, "SERVER_PORT cannot be set: use --port-base"),
        ({"VARIEGATE_ENGINE": "triton", "GENERATOR_TRITON": "a:1"}, "GENERATOR_TRITON names"),
        ({"VARIEGATE_PROMPTER": "vllm", "PROMPTER_LLM": "none"}, "PROMPTER_LLM names another"),
        ({"VARIEGATE_MODELS": "/nowhere"}, "has no folder captioner"),
    ],
)
def test_what_cannot_be_honoured_is_refused_before_anything_starts(environ, sentence):
    with pytest.raises(SettingsError, match=sentence):
        explicit(environ)


def test_a_flag_sets_every_service_that_it_concerns(models):
    found = texts_of(explicit({}, Choices(models, "cpu", "bfloat16")))
    assert found == {
        "CAPTIONER_DEVICE": "cpu",
        "CAPTIONER_MODEL": str(models / "captioner"),
        "GENERATOR_DEVICE": "cpu",
        "GENERATOR_DTYPE": "bfloat16",
        "GENERATOR_MODELS_FOLDER": str(models / "diffusion"),
        "RETRIEVER_CLIP": str(models / "clip"),
        "RETRIEVER_DEVICE": "cpu",
        "TRAINER_DEVICE": "cpu",
        "TRAINER_MODELS_FOLDER": str(models / "diffusion"),
    }


def test_a_flag_and_a_variable_that_contradict_each_other_are_refused(models):
    same = {"GENERATOR_MODELS_FOLDER": str(models / "diffusion")}
    assert explicit(same, Choices(models))["generator.models_folder"] == models / "diffusion"
    with pytest.raises(SettingsError, match=r"--models says .* and GENERATOR_MODELS_FOLDER says"):
        explicit({"GENERATOR_MODELS_FOLDER": "/other"}, Choices(models))
    with pytest.raises(SettingsError, match="--device says cpu and TRAINER_DEVICE says cuda"):
        explicit({"TRAINER_DEVICE": "cuda"}, Choices(device="cpu"))


def test_variables_of_kubernetes_and_of_web_servers_set_nothing():
    others = {"CAPTIONER_PORT": "tcp://10.0.0.1:1", "GATEWAY_INTERFACE": "CGI/1.1"}
    assert explicit(others) == {}
    assert set_by({**others, "TRAINER_THREADS": "1", "HOME": "/"}) == ["TRAINER_THREADS"]


def test_a_bad_setting_ends_a_command_with_a_sentence(variegate, photographs, monkeypatch):
    monkeypatch.setenv("GENERATOR_MODEL_FOLDER", "mine")
    done = variegate("augment", photographs / "train", "--out", "out", "--per-class", "1")
    assert done.code == 2
    assert "did you mean GENERATOR_MODELS_FOLDER?" in done.err
    assert "Traceback" not in done.err
    assert not (variegate.folder / "out").exists()


def test_an_option_cannot_set_up_a_system_that_runs_elsewhere(variegate, photographs):
    done = variegate(
        "augment", photographs / "train", "--gateway", "127.0.0.1:1", "--device", "cpu"
    )
    assert done.code == 2
    assert "--device configures a system that is started here" in done.err


@pytest.mark.slow
def test_other_models_make_new_images_in_a_state_of_any_name(variegate, photographs, monkeypatch):
    import shutil

    from safetensors.numpy import load_file, save_file

    def augment(out, *more):
        return variegate(
            "augment", photographs / "train", "--method", "simple", "--per-class", "1",
            "--steps", "4", "--state", STATE, "--out", out, *more,
        )  # fmt: skip

    def pictures(out):
        return {path.read_bytes() for path in (variegate.folder / out).rglob("*.png")}

    assert augment("first").code == 0
    assert not (variegate.folder / "st 1").exists()
    mine = variegate.folder / "mine"
    shutil.copytree(Path("models/nano/diffusion"), mine)
    unet = mine / "text" / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(unet)
    name = min(weights)
    save_file({**weights, name: weights[name] * 1.1}, unet)
    monkeypatch.setenv("GENERATOR_MODELS_FOLDER", str(mine))
    old = pictures("first")
    with up(variegate, state=STATE):
        refused, second = augment("first", "--resume"), augment("second")
    assert refused.code == 3
    assert "another diffusion model text" in refused.err
    assert second.code == 0, second.err
    assert old == pictures("first")
    assert len(old) == len(pictures("second")) == 3
    assert not old & pictures("second")
