"""Lists of models that cannot be understood say where, and what to write."""

import pytest

from gateway.cli.weights.wanted import WantedModel, read_list
from servicekit.errors import InvalidArgument

SOURCE = "hub:own/tiny@main"


def read(folder, text):
    (folder / "list.yaml").write_text(text)
    return read_list(folder / "list.yaml")


def test_a_list_is_yaml_or_json(tmp_path):
    text = f"models:\n- {{folder: diffusion/text, source: '{SOURCE}', files: ['*.json']}}\n"
    model = WantedModel("diffusion/text", SOURCE, ("*.json",))
    assert read(tmp_path, text) == (model,)
    json = '{"models": [{"folder": "a", "source": "s", "sha256": {"w.json": "%s"}}]}' % ("0" * 64)
    assert read(tmp_path, json)[0].digests == {"w.json": "0" * 64}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("models: [", "neither YAML nor JSON"),
        ("- a", "has to hold one list, `models:`"),
        ("models: []\nmodel: []", "has to hold one list, `models:`"),
        ("models: [a]", r"models\[0\] is not a mapping"),
        ("models: [{folder: a}]", r"models\[0\] has no source"),
        ("models: [{folder: a, source: s, sha: 1}]", "has a key 'sha'; known are folder, source"),
        ("models: [{folder: /a, source: s}]", "folder is '/a'; it is one such as captioner"),
        ("models: [{folder: a/../b, source: s}]", r"folder is 'a/\.\./b'"),
        ("models: [{folder: .fetch, source: s}]", r"folder is '\.fetch'"),
        ("models: [{folder: a, source: s, files: '*'}]", "files is a list of patterns"),
        ("models: [{folder: a, source: s, sha256: abc}]", "sha256 is 'abc'; it is 64 of"),
        ("models: [{folder: a, source: s, sha256: {x: 1}}]", "sha256 is 1; it is 64 of"),
        ("models: [{folder: a, source: s}, {folder: a/b, source: s}]", "a and a/b overlap"),
        ("models: [{folder: a, source: s}, {folder: a, source: s}]", "a and a overlap"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, words):
    with pytest.raises(InvalidArgument, match=words):
        read(tmp_path, text)


def test_a_list_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InvalidArgument, match=r"absent\.yaml cannot be read: No such file"):
        read_list(tmp_path / "absent.yaml")
