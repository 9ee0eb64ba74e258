"""A real S3 server, SeaweedFS, that tests may kill and start again on the same ports and files."""

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path

import urllib3
from minio import Minio

from servicekit.storage.s3 import S3Store
from tests.tests_ports import free_port

WEED = str(Path(sys.executable).with_name("weed"))
BUCKET = "variegate"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "tester-secret"}
READER = {"AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "reader-secret"}
_ACTIONS = {"tester": ["Admin", "Read", "Write", "List", "Tagging"], "reader": ["Read", "List"]}
_PARTS = ("master", "volume", "filer", "s3")


class Seaweed:
    """A server of one bucket, with a user who may do anything and one who may only read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = {name: (free_port(), free_port()) for name in _PARTS}
        self._process: subprocess.Popen | None = None
        identities = [
            {
                "name": name,
                "credentials": [{"accessKey": name, "secretKey": f"{name}-secret"}],
                "actions": actions,
            }
            for name, actions in _ACTIONS.items()
        ]
        (folder / "s3.json").write_text(json.dumps({"identities": identities}))

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self._ports['s3'][0]}"

    @property
    def url(self) -> str:
        """The store's URL, as services are given it."""
        return f"s3://{BUCKET}?endpoint={self.endpoint}&secure=false"

    def client(self) -> Minio:
        pool = urllib3.PoolManager(retries=False, maxsize=32)
        return Minio(
            self.endpoint,
            "tester",
            "tester-secret",
            secure=False,
            region="us-east-1",
            http_client=pool,
        )

    def store(self, bucket: str = BUCKET, environ=CREDENTIALS, **options: str) -> S3Store:
        values = {"endpoint": self.endpoint, "secure": "false", **options}
        return S3Store.from_options(bucket, values, environ)

    def start(self) -> None:
        """Starts the server and waits until its bucket is there."""
        command = [
            WEED, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false",
            "-master.electionTimeout=1s", "-master.heartbeatInterval=100ms", "-filer", "-s3",
            f"-s3.config={self._folder}/s3.json", "-s3.autoCreateBucket=false",
            "-s3.port.iceberg=0", "-s3.port.lance=0", f"-dir={self._folder}", "-volume.max=20",
            "-master.volumeSizeLimitMB=64",
            *(f"-{name}.port={ports[0]}" for name, ports in self._ports.items()),
            *(f"-{name}.port.grpc={ports[1]}" for name, ports in self._ports.items()),
        ]  # fmt: skip
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        client = self.client()
        for _ in range(100):
            with contextlib.suppress(Exception):
                if not client.bucket_exists(BUCKET):
                    client.make_bucket(BUCKET)
                return
            assert self._process.poll() is None, (self._folder / "log").read_text()[-2000:]
            time.sleep(0.3)
        raise AssertionError("no S3 server after 30 seconds")

    def kill(self) -> None:
        """Ends the server as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
