"""Reads back folders that augment wrote, and what others put there since."""

import hashlib
import io
import os
import tarfile

import pytest

from gateway.cli.failures import CliError
from gateway.cli.output_pictures import by_digest


@pytest.mark.parametrize("name", ["a.tar", "A.TAR"])
def test_shards_and_files_are_read_in_any_case(tmp_path, name):
    with tarfile.open(tmp_path / name, "w") as shard:
        member = tarfile.TarInfo("0.PNG")
        member.size = 2
        shard.addfile(member, io.BytesIO(b"in"))
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.JPG").write_bytes(b"out")
    found = by_digest(tmp_path)
    assert found.keys() == {hashlib.sha256(data).hexdigest() for data in (b"in", b"out")}
    assert [one.read() for pictures in found.values() for one in pictures] == [b"in", b"out"]


@pytest.mark.parametrize("name", ["pipe.png", "pipe.tar", "pipe"])
def test_a_pipe_is_told_and_never_waited_for(tmp_path, name):
    (tmp_path / "cat").mkdir()
    os.mkfifo(tmp_path / "cat" / name)
    with pytest.raises(CliError, match=f"cat/{name} is a named pipe, not a file; remove it"):
        by_digest(tmp_path)


def test_a_broken_shard_is_told(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"no shard" * 100)
    with pytest.raises(CliError, match=r"a\.tar cannot be read"):
        by_digest(tmp_path)
