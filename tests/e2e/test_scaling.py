"""`kubectl scale deployment/generator` in mid-job: generators as processes, each on an address of
its own, behind one name that a DNS server answers, and a gateway that follows them."""

import hashlib
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc
from tests_ports import free_port
from variegate.gateway.v1 import gateway_pb2 as pb
from variegate.gateway.v1 import gateway_pb2_grpc as rpc

from tests.name_server import NameServer
from tests.service_process import ServiceProcess, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

BATCH = 4
CLASSES, PER_CLASS = 3, 32
MADE = "GeneratorService/GenerateImages"
# Longer than anything here takes, however busy the machine: what never comes fails sooner or later.
LONG = 120.0


class Cluster:
    """A gateway and what it needs, and generators on 127.0.0.2, 127.0.0.3, and 127.0.0.4."""

    def __init__(self, folder: Path, photographs: Path, stack: ExitStack) -> None:
        self.folder, self._stack = folder, stack
        self.names = stack.enter_context(NameServer())
        self.port = free_port()
        self.generators: dict[str, ServiceProcess] = {}
        started = [self._start_generator(f"127.0.0.{number}") for number in (2, 3, 4)]
        prompter, self.retriever = self._start("prompter"), self._start("retriever")
        gateway = self._start(
            "gateway",
            GATEWAY_PROMPTER=prompter.target,
            GATEWAY_RETRIEVER=self.retriever.target,
            GATEWAY_GENERATOR=self.names.target(self.port),
            GATEWAY_DATABASE_URL=f"sqlite:///{folder}/gateway.sqlite",
            GATEWAY_IMPORT_ROOTS=str(photographs),
            GATEWAY_SHARD_SIZE=str(BATCH),
        )
        for one in (*started, prompter, self.retriever, gateway):
            one.wait()
        channel = stack.enter_context(grpc.insecure_channel(gateway.target))
        self.stub = rpc.GatewayServiceStub(channel)
        self._operations = operations_pb2_grpc.OperationsStub(channel)
        source = pb.DatasetSource(train_uri=f"file://{photographs}/train")
        request = pb.ImportDatasetRequest(dataset_id="pets", source=source)
        self.finish(self.stub.ImportDataset(request, timeout=30))

    def _start(self, name: str, target: str = "", **environ: str) -> ServiceProcess:
        target = target or f"127.0.0.1:{free_port()}"
        log = self.folder / f"{name}-{target}.log"
        store = (self.folder / "objects").as_uri()
        found = ServiceProcess.start(name, target, log, SERVER_STORE=store, **environ)
        self._stack.callback(found.end)
        return found

    def _start_generator(self, address: str) -> ServiceProcess:
        environ = {
            "GENERATOR_MAX_BATCH": str(BATCH),
            "GENERATOR_DETERMINISTIC_ROWS": str(2 * BATCH),
            "SERVER_LOG_LEVEL": "DEBUG",  # Each call is logged.
        }
        found = self._start("generator", f"{address}:{self.port}", **environ)
        self.generators[address] = found
        return found

    def scale(self, count: int) -> list[ServiceProcess]:
        """Has `count` generators behind the name, those that run and others where needed."""
        running = [a for a, one in self.generators.items() if one.process.poll() is None]
        ended = [address for address in self.generators if address not in running]
        for address in ended[: max(count - len(running), 0)]:
            running.append(address)
            self._start_generator(address).wait()
        self.names.addresses[:] = running[:count]
        return [self.generators[address] for address in running[:count]]

    def calls(self) -> int:
        """Returns how many calls to make images have ended."""
        return sum(len(one.calls(MADE)) for one in self.generators.values())

    def images(self) -> dict[str, str]:
        """Returns the digest of each image that was made, by name."""
        made = (self.folder / "objects" / "generated").rglob("*.png")
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in made}

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Holds the job in the middle: nothing is screened, so soon nothing more is made."""
        self.retriever.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.retriever.process.send_signal(signal.SIGCONT)

    def augment(self, name: str) -> operations_pb2.Operation:
        """Starts the job, of which nothing has been made yet."""
        shutil.rmtree(self.folder / "objects" / "generated", ignore_errors=True)
        augmentation = pb.Augmentation(
            method="simple", images_per_class=PER_CLASS, steps=2, seed=1, deterministic=True
        )
        request = pb.CreateAugmentationRequest(
            parent="datasets/pets", augmentation_id=name, augmentation=augmentation
        )
        return self.stub.CreateAugmentation(request, timeout=30)

    def finish(self, operation: operations_pb2.Operation) -> pb.Augmentation:
        def is_done() -> bool:
            nonlocal operation
            request = operations_pb2.GetOperationRequest(name=operation.name)
            operation = self._operations.GetOperation(request, timeout=30)
            return operation.done

        wait_until(is_done, f"{operation.name} does not end", LONG)
        assert not operation.HasField("error"), operation.error
        augmentation = pb.Augmentation()
        operation.response.Unpack(augmentation)
        return augmentation


@pytest.fixture(scope="module")
def cluster(photographs, tmp_path_factory):
    with ExitStack() as stack:
        yield Cluster(tmp_path_factory.mktemp("cluster"), photographs, stack)


@dataclass(frozen=True)
class Undisturbed:
    """The job as two generators did it with whom nothing happened."""

    digest: str
    images: dict[str, str]
    calls: list[int]


@pytest.fixture(scope="module")
def undisturbed(cluster) -> Undisturbed:
    generators = cluster.scale(2)
    result = cluster.finish(cluster.augment("undisturbed")).result
    assert result.accepted_count == CLASSES * PER_CLASS
    calls = [len(one.calls(MADE)) for one in generators]
    return Undisturbed(result.digest, cluster.images(), calls)


def wait_for_calls(one: ServiceProcess, least: int) -> None:
    wait_until(lambda: len(one.calls(MADE)) >= least, "it is given no calls", LONG, every=0.02)


def test_two_replicas_share_the_work(undisturbed):
    assert min(undisturbed.calls) > sum(undisturbed.calls) / 4, "less than half of an even share"
    assert len(undisturbed.images) == CLASSES * PER_CLASS


def test_a_replica_that_appears_in_mid_job_gets_its_share_within_30_seconds(cluster, undisturbed):
    first, *_ = cluster.scale(2)
    before = len(first.calls(MADE))
    job = cluster.augment("larger")
    wait_for_calls(first, before + 1)
    with cluster.paused():
        *_, new = cluster.scale(3)
        wait_until(lambda: new.calls("GeneratorService/ListModels"), "it stays unknown", 30)
        before, new_before = cluster.calls(), len(new.calls(MADE))
    assert cluster.finish(job).result.digest == undisturbed.digest
    share = (len(new.calls(MADE)) - new_before) / (cluster.calls() - before)
    assert share > 1 / 6, "less than half of an even share"


def test_a_replica_that_drains_in_mid_job_finishes_its_calls_and_nothing_is_made_twice(
    cluster, undisturbed
):
    _, leaving = cluster.scale(2)
    # All three: for some seconds one that is no longer behind the name is still given calls.
    before = cluster.calls()
    job = cluster.augment("smaller")
    wait_for_calls(leaving, len(leaving.calls(MADE)) + 1)
    leaving.process.terminate()
    assert leaving.process.wait(LONG) == 0
    assert cluster.finish(job).result.digest == undisturbed.digest
    assert cluster.images() == undisturbed.images
    assert cluster.calls() - before == sum(undisturbed.calls)
    assert set(leaving.calls(MADE)) == {"OK"}


def test_a_replica_that_is_killed_in_mid_job_costs_no_image(cluster, undisturbed):
    victim, _ = cluster.scale(2)
    job = cluster.augment("killed")
    wait_for_calls(victim, len(victim.calls(MADE)) + 1)
    victim.process.kill()
    assert cluster.finish(job).result.digest == undisturbed.digest
    assert cluster.images() == undisturbed.images
