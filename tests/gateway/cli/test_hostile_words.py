"""Words that contradict each other, say nothing, or point to places that would do harm."""

import pytest
import typer

from gateway.cli.main import app


def every_valued_option():
    """Every option of every command that takes a value, also of those that come later."""
    for name, command in typer.main.get_command(app).commands.items():
        for option in command.params:
            if option.param_type_name == "option" and not option.is_flag:
                yield pytest.param(name, option.opts[0], id=f"{name} {option.opts[0]}")


@pytest.mark.parametrize(("command", "flag"), every_valued_option())
@pytest.mark.parametrize("empty", ["", " ", ","])
def test_no_option_takes_an_empty_value_for_none(variegate, command, flag, empty):
    """As a shell writes it whose variable is not set."""
    answer = variegate(command, "x", f"{flag}={empty}")
    assert answer.code == 2
    assert f"{flag} is given an empty value" in answer.err


def test_an_empty_folder_name_is_no_folder(variegate):
    answer = variegate("augment", "")
    assert answer.code == 2
    assert "FOLDER is given an empty value" in answer.err


def test_without_words_all_commands_are_shown_and_none_is_done(variegate):
    answer = variegate()
    assert answer.code == 2
    assert answer.err.startswith("Usage: variegate") and "error" not in answer.err


def test_a_parameter_with_two_values_is_refused(variegate, photos):
    answer = variegate("augment", photos, "--param", "coarse_steps=2", "--param", "coarse_steps=3")
    assert answer.code == 2
    assert "--param coarse_steps is given as 2 and as 3" in answer.err


def test_a_method_named_twice_is_compared_once(variegate, gateway, photos, tmp_path):
    where = ["--gateway", gateway.target, "--store", (tmp_path / "objects").as_uri()]
    variegate("study", photos, "--test", photos, "--methods", "mvc,mvc", "--yes", *where)
    [study] = [one.study for one in gateway.requests if hasattr(one, "study")]
    assert len(study.arms) == 1


@pytest.mark.parametrize("command", ["augment", "train", "study", "import"])
def test_a_state_among_the_images_is_refused_before_it_is_made(variegate, photos, command):
    for state in (photos, photos / "cat", photos / "new"):
        answer = variegate(command, photos, "--state", state)
        assert answer.code == 2
        assert f"The state folder {state} lies in the images" in answer.err
    assert sorted(path.name for path in photos.iterdir()) == ["cat", "dog"]


@pytest.mark.parametrize("state", ["made", "made/state"])
def test_a_state_in_the_output_is_refused(variegate, photos, tmp_path, state):
    answer = variegate("augment", photos, "--out", "made", "--state", state)
    assert answer.code == 2
    assert "lies in the output made" in answer.err
    assert not (tmp_path / "made").exists()


def test_a_state_that_cannot_be_written_is_told(variegate, photos):
    answer = variegate("augment", photos, "--state", "/proc/self")
    assert answer.code == 3
    assert "The state folder /proc/self cannot be made or written to" in answer.err


def test_clean_touches_no_folder_that_is_no_state(variegate, photos):
    before = sorted(photos.rglob("*"))
    answer = variegate("clean", "--state", photos, "--all", "--yes")
    assert answer.code == 3
    assert "is not a state folder" in answer.err
    assert sorted(photos.rglob("*")) == before


def test_an_import_root_that_is_not_there_is_refused(variegate):
    answer = variegate("up", "--import-root", "nowhere")
    assert answer.code == 3
    assert "nowhere is not an existing folder" in answer.err


@pytest.mark.parametrize("address", ["nix", "127.0.0.1:99999", "a:b:c", ":::", "host:", ":50051"])
@pytest.mark.parametrize("flag", ["--gateway", "--trainer"])
def test_an_address_that_is_none_is_refused_as_it_was_written(variegate, flag, address):
    answer = variegate("status", flag, address)
    assert answer.code == 2
    assert f"{address!r} is not HOST:PORT" in answer.err


def test_a_dataset_has_a_name_that_can_be_a_name(variegate, photos):
    answer = variegate("import", photos, "--name", "My Pets")
    assert answer.code == 2
    assert "a letter first" in answer.err


@pytest.mark.parametrize("flags", [["--device", "gpu"], ["--dtype", "int8"]])
def test_a_wrong_device_or_type_is_called_as_it_was_given(variegate, photos, flags):
    answer = variegate("augment", photos, *flags)
    assert answer.code == 2
    assert f"{flags[0]} is {flags[1]!r}; use " in answer.err and "_DEVICE" not in answer.err


def test_names_are_printed_as_they_are_also_where_they_look_like_emoji(variegate):
    answer = variegate("augment", "a:b:c")
    assert "a:b:c does not exist" in answer.err
