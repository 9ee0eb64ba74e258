"""Logs and metrics of a service process."""

import json
import logging
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from servicekit.tls.certificates import Certificates
from servicekit.workload import Workload, metrics_of

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
# A URL up to its password, as in postgresql://name:password@host.
_PASSWORD = re.compile(r"([a-zA-Z][\w+.-]*://[^\s:/@\"\\]*):[^\s/@\"\\]+@")


class JsonFormatter(logging.Formatter):
    """One JSON object a line; fields given as `extra={"fields": {...}}` are merged in.

    Passwords in URLs become ***, wherever they are: in a setting, a message or a trace.
    """

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            entry["trace"] = self.formatException(record.exc_info)
        return _PASSWORD.sub(r"\1:***@", json.dumps(entry, default=str))


def configure_logging(level: str = "INFO") -> None:
    """Sends every log record of the process to standard error as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class Metrics:
    """The Prometheus metrics of one service; a registry of its own lets several share a process."""

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry()
        registry, name = self.registry, f"variegate_{service}"
        self.calls = Counter(
            f"{name}_calls", "Finished calls.", ["method", "code"], registry=registry
        )
        self.failures = Counter(
            f"{name}_failures",
            "Calls that ended with an error of ours, by its reason.",
            ["reason"],
            registry=registry,
        )
        self.seconds = Histogram(
            f"{name}_call_seconds",
            "Seconds a call took.",
            ["method"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self.in_flight = Gauge(
            f"{name}_calls_in_flight",
            "Calls that have not ended, probes left out.",
            registry=registry,
        )

    def show(
        self,
        service: str,
        workload: Callable[[], Workload | None],
        collectors: Iterable[Collector] = (),
    ) -> None:
        """Adds what `workload` says of the service whenever somebody reads the metrics, what
        `collectors` say, and the memory of the GPUs that it computes on."""
        for collector in (_WorkloadCollector(service, workload), _GpuCollector(), *collectors):
            self.registry.register(collector)

    def show_certificates(self, service: str, certificates: Sequence[Certificates]) -> None:
        """Adds when they end; they are looked at whenever somebody reads the metrics."""
        if certificates:
            self.registry.register(_CertificateCollector(service, certificates))

    def expose(self, port: int) -> None:
        """Serves the metrics over HTTP on `port`."""
        start_http_server(port, registry=self.registry)


class _WorkloadCollector(Collector):
    def __init__(self, service: str, workload: Callable[[], Workload | None]) -> None:
        self._service, self._workload = service, workload

    def collect(self) -> Iterator[GaugeMetricFamily]:
        found = self._workload()
        for name, meaning, value in metrics_of(self._service):
            if found is not None:
                yield GaugeMetricFamily(name, meaning, value(found))


class _GpuCollector(Collector):
    """The memory of GPUs, all that is in use on them, by whomever; none where torch uses none."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        torch = sys.modules.get("torch")  # Whoever computes has imported it.
        if torch is None or not torch.cuda.is_initialized():
            return
        used = GaugeMetricFamily(
            "variegate_gpu_memory_used_bytes", "Bytes of a GPU in use.", labels=["gpu"]
        )
        total = GaugeMetricFamily("variegate_gpu_memory_bytes", "Bytes of a GPU.", labels=["gpu"])
        for number in range(torch.cuda.device_count()):
            free, there = torch.cuda.mem_get_info(number)
            used.add_metric([str(number)], there - free)
            total.add_metric([str(number)], there)
        yield from (used, total)


class _CertificateCollector(Collector):
    def __init__(self, service: str, certificates: Sequence[Certificates]) -> None:
        self._service, self._certificates = service, certificates

    def collect(self) -> Iterator[GaugeMetricFamily]:
        found = GaugeMetricFamily(
            f"variegate_{self._service}_certificate_expiry_timestamp_seconds",
            "When the certificate ends that is shown as a server or a client, in Unix time.",
            labels=["use"],
        )
        for one in self._certificates:
            if ends := one.current().ends:
                found.add_metric([one.use], ends.timestamp())
        yield found
