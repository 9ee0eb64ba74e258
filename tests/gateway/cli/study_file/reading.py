"""Reads the text of a study file, or tells its errors."""

import pytest

from gateway.cli.failures import CliError
from gateway.cli.study_file.schema import read_study


def read(tmp_path, text, known, **places):
    file = tmp_path / "study.yaml"
    file.write_text(text)
    return read_study(file, known, **places)


def errors_of(tmp_path, text, known):
    with pytest.raises(CliError) as caught:
        read(tmp_path, text, known)
    lines = caught.value.message.splitlines()[1:]
    prefix = f"{tmp_path / 'study.yaml'}:"
    assert all(line.startswith(prefix) for line in lines), lines
    return [line.removeprefix(prefix).split(": ", 1) for line in lines]
