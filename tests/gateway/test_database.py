"""A database that cannot be used is told at the start, without its password, and can be mended."""

import asyncio
import sys
from pathlib import Path

import pytest
from tests_ports import free_port

from gateway.durable.database import sqlite_url
from gateway.durable.durable import Durable
from servicekit.errors import Precondition


async def nothing(subject):
    pass


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("nonsense", "Could not parse"),
        ("sqlite:////proc/no/gateway.sqlite", "No such file or directory"),
        ("sqlite:////proc/gateway.sqlite", "unable to open database file"),
        (f"postgresql://me:secret@127.0.0.1:{free_port()}/jobs", "Connection refused"),
    ],
    ids=["url", "folder", "file", "server"],
)
async def test_a_database_that_cannot_be_used_is_told(tmp_path: Path, url, why):
    broken = Durable(url, "one", nothing)
    with pytest.raises(Precondition, match=why) as caught:
        await broken.launch()
    assert "correct GATEWAY_DATABASE_URL, or start its server" in caught.value.message
    assert "secret" not in caught.value.message
    await broken.close()
    mended = Durable(f"sqlite:///{tmp_path}/gateway.sqlite", "one", nothing)
    await mended.launch()
    await mended.close()


@pytest.mark.parametrize("name", ["st%201", "st?x=1", "a b#c;d&e", "Zürich 日本", "100%", "\udcff"])
async def test_a_folder_of_any_name_holds_the_database(tmp_path: Path, name):
    file = tmp_path / name / "gateway.sqlite"
    durable = Durable(sqlite_url(file), "one", nothing)
    await durable.launch()
    await durable.close()
    assert list(tmp_path.rglob("*.sqlite")) == [file]


@pytest.mark.parametrize("damage", ["cut", "another file"])
async def test_a_damaged_database_is_named_with_the_remedy_and_no_trace(tmp_path, capfd, damage):
    file = tmp_path / "gateway.sqlite"
    durable = Durable(sqlite_url(file), "one", nothing)
    await durable.launch()
    await durable.close()
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2] if damage == "cut" else b"no database" * 100)
    broken = Durable(sqlite_url(file), "one", nothing)
    with pytest.raises(Precondition, match="database cannot be used") as caught:
        await broken.launch()
    await broken.close()
    assert f"move the file {file} away" in caught.value.message
    assert "Traceback" not in "".join(capfd.readouterr())
    file.unlink()
    mended = Durable(sqlite_url(file), "one", nothing)
    await mended.launch()
    await mended.close()


async def test_a_second_gateway_on_one_sqlite_file_is_refused_until_the_first_has_ended(tmp_path):
    url = f"sqlite:///{tmp_path}/gateway.sqlite"
    program = f"""
import asyncio, sys
from gateway.durable.durable import Durable

async def main():
    durable = Durable({url!r}, "another name", None)
    await durable.launch()
    print("launched", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await durable.close()

asyncio.run(main())
"""
    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, "-c", program]
    first = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    assert await first.stdout.readline() == b"launched\n"
    second = Durable(url, "one", nothing)
    with pytest.raises(Precondition, match="another gateway uses the database") as caught:
        await second.launch()
    await second.close()
    assert "PostgreSQL, which several gateways can share" in caught.value.message
    await first.communicate(b"")
    await second.launch()
    await second.close()
