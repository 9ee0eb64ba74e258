"""A hub and a real S3 server to fetch models from."""

import pytest

from tests.gateway.cli.weights.hub import Hub, serve
from tests.seaweed import Seaweed


@pytest.fixture
def hub():
    found = Hub()
    stop = serve(found)
    yield found
    stop()


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory):
    server = Seaweed(tmp_path_factory.mktemp("weed"))
    server.start()
    yield server
    server.kill()
