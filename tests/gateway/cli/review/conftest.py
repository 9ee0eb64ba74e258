"""An output to review."""

import pytest

from tests.gateway.cli.outputs import write_output


@pytest.fixture
def output(tmp_path):
    return write_output(tmp_path / "made", counts={"cat": 5, "dog": 3})
