"""Fixtures of the gateway's tests."""

import pytest

from tests.gateway.pictures import write_folder


@pytest.fixture
def folders(tmp_path):
    train = write_folder(tmp_path / "train")
    test = write_folder(tmp_path / "test", count=2, tag="test")
    return tmp_path, train, test
