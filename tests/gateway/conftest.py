"""Fixtures of the gateway's tests."""

import pytest

from tests.gateway.pictures import write_folder
from tests.postgres import Postgres


@pytest.fixture
def folders(tmp_path):
    train = write_folder(tmp_path / "train")
    test = write_folder(tmp_path / "test", count=2, tag="test")
    return tmp_path, train, test


@pytest.fixture(scope="session")
def postgres():
    with Postgres() as found:
        yield found


@pytest.fixture
def database_url(postgres):
    """A database of its own for a test, which is not there yet."""
    return postgres.new_database()
