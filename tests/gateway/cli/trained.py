"""The added images that a trainer was last asked to train on."""

import io

import pyarrow.parquet as pq

from servicekit.storage import DirectoryStore


def trained_on(gateway, tmp_path):
    uri = gateway.requests[-1].training_run.synthetic_manifest_uri
    data = DirectoryStore(tmp_path / "objects").get(uri.removeprefix("store:"))
    return pq.read_table(io.BytesIO(data)).to_pylist()
