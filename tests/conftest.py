"""Fixtures shared by all tests."""

import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path

# Two cores are shared by the servers of a test; more threads only get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# A shell lets what it starts in the background ignore Ctrl-C, and processes of tests inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import grpc
import pytest

from servicekit.errors import ServiceError
from servicekit.statuses import from_rpc_error
from tests.small_disk import small_disk

__all__ = ["small_disk"]

MOST_WORKERS = 8
# Of tests that have a part of `make test` of their own.
MARKS = ("heavy", "alone")
TESTS = Path(__file__).parent


@cache
def says(mark: str, path: Path) -> bool:
    """Whether a file has the mark in its text, or a conftest.py that applies to it has."""
    above = [
        one / "conftest.py" for one in path.parents if one.is_relative_to(TESTS) and one != TESTS
    ]
    return any(f"mark.{mark}" in one.read_text() for one in (path, *above) if one.is_file())


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m heavy` or `-m alone`, the many files without such a test are not even imported."""
    is_test = collection_path.name.startswith("test_") and collection_path.suffix == ".py"
    mark = config.option.markexpr
    is_foreign = is_test and mark in MARKS and not says(mark, collection_path)
    return True if is_foreign else None


def pytest_itemcollected(item: pytest.Item) -> None:
    """No test gets one of the marks in another way, which `-m` would then not see."""
    for mark in MARKS:
        if item.get_closest_marker(mark) and not says(mark, item.path):
            raise pytest.UsageError(
                f"{item.nodeid} has the mark `{mark}`, but neither its file nor a conftest.py of "
                f"its folder says `pytest.mark.{mark}`; write it there"
            )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than there are cores, since many tests wait for processes and servers of their own;
    but no more heavy ones than cores.
    """
    cores = len(os.sched_getaffinity(0))
    return min(cores if config.option.markexpr == "heavy" else cores + 1, MOST_WORKERS)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Several workers begin with the slow files, so that none is left alone with one at the end."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
        all_of = Counter(item.path for item in items)
        items.sort(key=lambda item: (-slow[item.path], -all_of[item.path], item.path))


@pytest.fixture
def fails() -> Callable[[object], Awaitable[ServiceError]]:
    """Returns a function that awaits a call, or drains a stream, and returns its error."""

    async def failure(call: object) -> ServiceError:
        try:
            if hasattr(call, "__aiter__") and not isinstance(call, grpc.aio.UnaryUnaryCall):
                async for _ in call:
                    pass
            else:
                await call
        except grpc.aio.AioRpcError as error:
            return from_rpc_error(error)
        raise AssertionError("the call succeeded")

    return failure


@pytest.fixture
def fails_sync() -> Callable[[Callable[[], object]], ServiceError]:
    """Returns a function that makes a call of a blocking stub and returns its error."""

    def failure(call: Callable[[], object]) -> ServiceError:
        try:
            call()
        except grpc.RpcError as error:
            return from_rpc_error(error)
        raise AssertionError("the call succeeded")

    return failure
