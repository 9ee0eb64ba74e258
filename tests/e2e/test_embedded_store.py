"""The embedded system with its objects on an S3 server."""

import pytest

from tests.seaweed import CREDENTIALS, Seaweed

pytestmark = [pytest.mark.servers, pytest.mark.slow]


@pytest.mark.timeout(300)
def test_the_embedded_system_keeps_its_objects_where_it_is_told(
    variegate, photographs, tmp_path, monkeypatch
):
    (tmp_path / "weed").mkdir()
    server = Seaweed(tmp_path / "weed")
    server.start()
    try:
        for name, value in CREDENTIALS.items():
            monkeypatch.setenv(name, value)
        made = variegate(
            "augment", photographs / "train", "--method", "simple", "--per-class", "4",
            "--steps", "4", "--store", server.url, "--out", tmp_path / "out",
            "--format", "webdataset", "--json",
        )  # fmt: skip
        assert made.code == 0, made.err
        assert made.json()["accepted_count"] == 12
        assert len(list(server.store().list("generated/"))) >= 12
        assert not list((tmp_path / ".variegate").rglob("*.png")), "nothing lies in the folder"
        assert (tmp_path / "out" / "000000.tar").is_file()
    finally:
        server.kill()
