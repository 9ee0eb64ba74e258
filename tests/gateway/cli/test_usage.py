"""What a newcomer types wrong: one sentence, what to do, and an exit code to trust."""

import gzip
import os
import subprocess
import sys

import pytest
import typer

from gateway.cli.main import app

COMMANDS = [
    "import", "augment", "train", "study", "status", "cancel", "methods", "up", "doctor"
]  # fmt: skip


def test_help_lists_every_command_and_the_exit_codes(variegate):
    answer = variegate("--help")
    assert answer.code == 0
    assert all(command in answer.out for command in COMMANDS)
    assert "Exit codes" in answer.out and "130" in answer.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_exit_codes(variegate, command):
    answer = variegate(command, "--help")
    assert answer.code == 0
    assert "Exit codes" in answer.out


def test_help_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys, gateway.cli.main as cli\n"
        "try:\n    cli.main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('grpc', 'torch', 'pyarrow', 'numpy', 'PIL', 'jinja2', 'wandb') "
        "if m in sys.modules], file=sys.stderr)"
    )
    before = os.times()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    after = os.times()
    spent = after.children_user - before.children_user
    assert done.stderr.strip() == "[]"
    assert spent < 0.7


def test_a_misspelt_command_gets_a_guess(variegate):
    answer = variegate("augmnt", "x")
    assert answer.code == 2
    assert "Did you mean 'augment'" in answer.err


def test_wrong_usage_with_json_is_one_document(variegate):
    answer = variegate("augment", "--per-class", "0", "x", "--json")
    assert answer.code == 2
    assert answer.document["error"]["reason"] == "USAGE"
    assert "--per-class" in answer.document["error"]["message"]


def every_option():
    """Every option of every command, also of those that come later."""
    for name, command in typer.main.get_command(app).commands.items():
        for option in command.params:
            if option.param_type_name == "option" and not option.is_eager:
                for flag in (option.opts[0], *option.secondary_opts):
                    yield pytest.param(name, option, flag, id=f"{name} {flag}")


@pytest.mark.parametrize(("command", "option", "flag"), every_option())
def test_no_option_swallows_one_given_before(variegate, command, option, flag):
    words = [flag] if option.is_flag else [flag, "1"]
    spelt = [option.opts[0]] if option.is_flag else [f"{option.opts[0]}=2"]
    answer = variegate(command, "x", *words, *spelt)
    said = answer.out + answer.err
    if option.multiple:
        assert "give it once" not in said
    else:
        assert answer.code == 2
        assert flag in said and "is given 2 times" in said


def test_a_missing_folder_is_named_with_the_nearest_one(variegate, photos):
    answer = variegate("augment", photos.with_name("my photo"))
    assert answer.code == 3
    assert "my photo does not exist. Did you mean" in answer.err
    assert str(photos) in answer.err


@pytest.mark.parametrize("command", [["augment"], ["study", "--test", "tests"]])
def test_a_pool_that_is_not_there_is_refused_before_anything_starts(variegate, photos, command):
    images = [str(photos) if word == "tests" else word for word in command]
    answer = variegate(*images, photos, "--pool", "none.parquet", "--out", "out")
    assert answer.code == 3
    assert "The pool none.parquet is not a .parquet or .tar file, nor a folder." in answer.err
    assert "starting" not in answer.err


def test_a_file_instead_of_a_folder_is_refused(variegate, tmp_path):
    path = tmp_path / "cat.jpg"
    path.write_bytes(b"x")
    answer = variegate("augment", path)
    assert answer.code == 2
    assert "is a file, not a folder" in answer.err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("my pets.zip", "unzip 'my pets.zip' -d 'my pets'"),
        ("pets.tar.gz", "mkdir pets && tar -xf pets.tar.gz -C pets"),
        ("PETS.7Z", "7z x PETS.7Z -oPETS"),
    ],
)
@pytest.mark.parametrize("place", ["FOLDER", "--test", "--pool"])
def test_packed_images_are_refused_with_what_unpacks_them(
    variegate, tmp_path, photos, name, said, place
):
    (tmp_path / name).write_bytes(b"x")
    words = [name] if place == "FOLDER" else [photos, place, name]
    method = "retrieval" if place == "--pool" else "simple"
    answer = variegate("augment", *words, "--method", method, "--out", "out")
    assert answer.code in (2, 3) and said in answer.err
    assert "starting" not in answer.err


def test_a_pipe_is_no_images_and_no_output(variegate, tmp_path, photos):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_text("x")
    assert "pipe is a named pipe, not a folder" in variegate("augment", "pipe").err
    for out, said in (
        ("pipe", "pipe is a named pipe"),
        ("text", "text is a file"),
        ("text/below/it", "text is a file"),
    ):
        for command in (["augment"], ["study", "--methods", "simple"], ["train"]):
            answer = variegate(*command, photos, "--test", photos, "--out", out)
            assert answer.code == 2 and said in answer.err, answer.err
            assert "starting" not in answer.err


def test_an_empty_folder_is_refused(variegate, tmp_path):
    (tmp_path / "empty").mkdir()
    answer = variegate("augment", "empty")
    assert answer.code == 2
    assert "empty is empty" in answer.err


def test_images_without_class_folders_are_explained(variegate, photos):
    answer = variegate("augment", photos / "cat", "--json")
    assert answer.code == 2
    assert answer.document["error"]["reason"] == "NO_CLASS_FOLDERS"


def test_a_parameter_without_a_value_is_refused(variegate, photos):
    answer = variegate("augment", photos, "--param", "coarse_steps")
    assert answer.code == 2
    assert "NAME=VALUE" in answer.err


def test_an_output_inside_the_images_is_refused(variegate, photos):
    answer = variegate("augment", photos, "--out", photos / "more")
    assert answer.code == 2
    assert "one is inside the other" in answer.err


def test_a_study_without_test_images_is_refused(variegate, photos):
    answer = variegate("study", photos)
    assert answer.code == 2
    assert "--test" in answer.err


def test_a_study_without_anything_points_to_the_demo(variegate):
    answer = variegate("study")
    assert answer.code == 2
    assert "variegate study --demo" in answer.err


def test_the_demo_takes_no_folder(variegate, photos):
    answer = variegate("study", photos, "--demo")
    assert answer.code == 2
    assert "--demo brings its own photographs" in answer.err


def test_a_strategy_without_images_to_add_is_refused(variegate, photos):
    answer = variegate("train", photos, "--test", photos, "--strategy", "two_phase")
    assert answer.code == 2
    assert "--synthetic" in answer.err


def test_a_gateway_that_is_not_there_is_unavailable(variegate):
    answer = variegate("methods", "--gateway", "127.0.0.1:9", "--json")
    assert answer.code == 4
    assert answer.document["error"]["remedy"]


def test_status_without_a_system_says_so_and_starts_none(variegate, tmp_path):
    answer = variegate("status")
    assert answer.code == 3
    assert "No system is running" in answer.err
    assert not (tmp_path / ".variegate").exists()


def test_methods_are_listed_without_starting_a_system(variegate, tmp_path):
    answer = variegate("methods", "--json")
    assert answer.code == 0
    assert {"mvc", "retrieval", "simple"} <= {method["id"] for method in answer.document["methods"]}
    assert not (tmp_path / ".variegate").exists()


@pytest.mark.parametrize("command", ["augment", "study"])
def test_an_unknown_method_is_told_before_anything_is_started(variegate, photos, tmp_path, command):
    option = "--method" if command == "augment" else "--methods"
    answer = variegate(command, photos, "--test", photos, option, "mvcc")
    assert answer.code == 2
    assert "Did you mean 'mvc'" in answer.err
    assert not (tmp_path / ".variegate").exists()


@pytest.mark.parametrize("name", ["pets.zip", "pets.tar.gz", "pets.7z", "pets.tar"])
def test_packed_files_are_refused_wherever_images_are_given(variegate, photos, tmp_path, name):
    data = b"7z\xbc\xaf\x27\x1c1" if name.endswith(".7z") else gzip.compress(b"1")
    (tmp_path / name).write_bytes(data)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "pets.zip").write_bytes(b"PK\x03\x04")
    for arguments in (
        ["augment", name, "--out", "out"],
        ["augment", photos, "--method", "retrieval", "--pool", name, "--out", "out"],
        ["study", photos, "--test", name, "--out", "out"],
        ["train", photos, "--test", photos, "--synthetic", name],
        ["import", name],
        ["import", "parts"],
    ):
        answer = variegate(*map(str, arguments))
        assert answer.code == 3, answer.err
        assert "which has to be unpacked first" in answer.err
        assert "Unpack it (" in answer.err
