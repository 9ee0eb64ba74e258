"""The launcher says what is wrong, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from generator.settings import GeneratorSettings
from generator.triton import launcher
from generator.triton.launcher import ENVIRONMENT_KEY, LocalTriton
from servicekit.errors import Precondition
from tests.generator.triton.conftest import Observed

SHARED = Path("/dev/shm")


def start(server):
    try:
        server.start()
    finally:
        server.stop()


def test_without_its_environment_it_names_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT_KEY, str(tmp_path / "none"))
    with pytest.raises(Precondition, match=r"none does not exist; run `make triton`"):
        start(LocalTriton(tmp_path, GeneratorSettings(), "memory:"))


def test_an_environment_without_the_server_names_the_remedy(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    monkeypatch.setenv(ENVIRONMENT_KEY, str(tmp_path))
    with pytest.raises(Precondition, match="holds no Triton server"):
        start(LocalTriton(tmp_path, GeneratorSettings(), "memory:"))


@pytest.mark.servers
@pytest.mark.heavy
def test_a_server_that_cannot_load_its_models_says_why(tmp_path, tiny_folder):
    # The front finds its models; inside Triton the store cannot be opened.
    settings = GeneratorSettings(models_folder=tiny_folder)
    with pytest.raises(
        Precondition, match=r"(?s)ended with code 1.*'nonsense:' is not a store"
    ) as error:
        start(LocalTriton(tmp_path, settings, "nonsense:"))
    assert str(tmp_path / "triton.log") in str(error.value)


@pytest.mark.servers
@pytest.mark.heavy
def test_nothing_stays_in_shared_memory_when_a_killed_stub_is_stopped(tmp_path, tiny_folder):
    settings = GeneratorSettings(models_folder=tiny_folder, threads=1)
    with LocalTriton(tmp_path, settings, "memory:") as server:
        assert list(SHARED.glob(f"{server._shm_prefix}*")), "the stub talks through shared memory"
        Observed(server).stub().kill()
    assert not list(SHARED.glob(f"{server._shm_prefix}*"))


def test_what_dead_processes_left_is_swept_and_what_the_living_use_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(launcher, "_SHARED_MEMORY", tmp_path)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / f"variegate-triton-{dead.pid}-5000-abc"
    used = tmp_path / f"variegate-triton-{os.getppid()}-5000-abc"
    for path in (left, used):
        path.touch()
    LocalTriton(tmp_path, GeneratorSettings(), "memory:")._sweep()
    assert not left.exists()
    assert used.exists()


@pytest.mark.servers
@pytest.mark.heavy
def test_triton_ends_when_the_process_that_started_it_is_killed(tmp_path, tiny_folder):
    program = textwrap.dedent(
        f"""
        import time
        from pathlib import Path
        from generator.settings import GeneratorSettings
        from generator.triton.launcher import LocalTriton

        settings = GeneratorSettings(models_folder=Path({str(tiny_folder)!r}), threads=1)
        server = LocalTriton(Path({str(tmp_path)!r}), settings, "memory:")
        server.start()
        print(server.pid, flush=True)
        time.sleep(600)
        """
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    family = []
    try:
        family = psutil.Process(int(parent.stdout.readline())).children(recursive=True)
        assert len(family) >= 2
        os.kill(parent.pid, signal.SIGKILL)
        _, alive = psutil.wait_procs(family, timeout=30)
        assert alive == []
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()


@pytest.mark.servers
@pytest.mark.heavy
def test_the_settings_of_the_server_are_those_of_its_front(triton_server, nano_settings):
    expected = replace(nano_settings, backend="triton", triton=triton_server.target)
    assert triton_server.settings == expected
