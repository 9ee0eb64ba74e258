"""Packed files are told by content or name, with the command that unpacks them."""

import bz2
import gzip
import io
import lzma
import subprocess
import tarfile
import zipfile

import pytest

from datafiles.packed import MARK_BYTES, packing_of


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("cat/1.png", b"1")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "what", "command"),
    [
        ("pets.zip", "a zip archive", "unzip pets.zip -d pets"),
        ("a/my pets.ZIP", "a zip archive", "unzip 'a/my pets.ZIP' -d 'a/my pets'"),
        ("pets.7z", "a 7z archive", "7z x pets.7z -opets"),
        ("pets.rar", "a RAR archive", "mkdir pets && unrar x pets.rar pets/"),
        ("pets.tgz", "a tar compressed by gzip", "mkdir pets && tar -xf pets.tgz -C pets"),
        ("pets.tar.gz", "a tar compressed by gzip", "mkdir pets && tar -xf pets.tar.gz -C pets"),
        ("pets.tbz", "a tar compressed by bzip2", "mkdir pets && tar -xf pets.tbz -C pets"),
        ("pets.tar.xz", "a tar compressed by xz", "mkdir pets && tar -xf pets.tar.xz -C pets"),
        ("p.tar.zst", "a tar compressed by Zstandard", "mkdir p && tar -xf p.tar.zst -C p"),
        ("pets.parquet.gz", "compressed by gzip", "gunzip --keep pets.parquet.gz"),
        (".zip", "a zip archive", "unzip .zip -d unpacked"),
    ],
)  # fmt: skip
def test_a_packed_file_is_told_by_its_name(name, what, command):
    text = packing_of(name)
    assert text.startswith(f"is {what}, ")
    assert f"({command})" in text


@pytest.mark.parametrize("name", ["pets.tar", "a.parquet", "zip", "a.png", "", "x.zip.png"])
def test_other_names_are_no_packed_files(name):
    assert packing_of(name) == ""
    assert packing_of(name, b"\x89PNG\r\n\x1a\n") == ""


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (zipped(), "a zip archive"),
        (gzip.compress(b"1"), "a tar compressed by gzip"),
        (bz2.compress(b"1"), "a tar compressed by bzip2"),
        (lzma.compress(b"1"), "a tar compressed by xz"),
    ],
    ids=["zip", "gzip", "bzip2", "xz"],  # The bytes hold the time: they would be other names.
)
def test_content_goes_before_the_name(data, what):
    assert packing_of("pets.tar", data[:MARK_BYTES]).startswith(f"is {what}, ")


@pytest.mark.parametrize("name", ["two words.tar.gz", "it's.tgz", "pets.tar"])
def test_the_command_that_is_said_unpacks_it(tmp_path, name):
    with tarfile.open(tmp_path / name, "w:gz") as tar:
        (tmp_path / "1.png").write_bytes(b"1")
        tar.add(tmp_path / "1.png", "cat/1.png")
    said = packing_of(name, (tmp_path / name).read_bytes()[:MARK_BYTES])
    command = said.partition("(")[2].rpartition(")")[0]
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    assert (tmp_path / name.partition(".")[0] / "cat" / "1.png").read_bytes() == b"1"
