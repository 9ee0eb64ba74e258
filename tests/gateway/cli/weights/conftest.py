"""A hub and a real S3 server to fetch models from."""

import pytest
from huggingface_hub import constants

from tests.gateway.cli.weights.hub import Hub, serve
from tests.seaweed import Seaweed


@pytest.fixture
def hub():
    found = Hub()
    stop = serve(found)
    yield found
    stop()


@pytest.fixture
def asked_hub(hub, monkeypatch):
    """The hub, as the one that huggingface_hub asks in this process."""
    # What the library makes of HF_ENDPOINT when it is imported.
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return hub


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory):
    server = Seaweed(tmp_path_factory.mktemp("weed"))
    server.start()
    yield server
    server.kill()
