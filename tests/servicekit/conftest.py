"""One real S3 server for all tests of this folder."""

import pytest

from tests.seaweed import Seaweed


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory):
    server = Seaweed(tmp_path_factory.mktemp("weed"))
    server.start()
    yield server
    server.kill()
