"""File systems of a few kilobytes, to be filled by tests. They take root's rights to mount."""

import subprocess

import pytest


@pytest.fixture
def small_disk(tmp_path):
    """Mounts a file system of so many KiB and answers its folder; skips where nobody may mount."""
    mounted = []

    def mount(kibibytes):
        folder = tmp_path / f"disk-{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "none", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            pytest.skip(f"no file system can be mounted here: {error}")
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def grow(folder, kibibytes):
    """Gives a small disk more room."""
    command = ["mount", "-o", f"remount,size={kibibytes}k", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
