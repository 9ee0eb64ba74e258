"""What every piece of work is given."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.api.catalog import Catalog
from gateway.clients import Clients
from gateway.durable.progress import WorkProgress
from gateway.metrics import GatewayMetrics
from gateway.settings import GatewaySettings
from servicekit.storage import ObjectStore


@dataclass(frozen=True)
class Context:
    """Store, clients, settings, and the progress of what runs, by subject.

    `closing` is set before work is interrupted because the gateway ends, rather than cancelled.
    """

    store: ObjectStore
    catalog: Catalog
    clients: Clients
    settings: GatewaySettings
    progress: dict[str, WorkProgress] = field(default_factory=dict)
    closing: threading.Event = field(default_factory=threading.Event)
    metrics: GatewayMetrics = field(default_factory=GatewayMetrics)

    def begin(self, subject: str) -> WorkProgress:
        """Returns fresh progress of a subject."""
        return self.progress.setdefault(subject, WorkProgress(decided=self.metrics.decided))

    def quiet_seconds(self, subjects: Iterable[str]) -> float:
        """Returns the longest time that one of the subjects has made no progress; 0 for none."""
        found = (self.progress.get(subject) for subject in subjects)
        return max((one.quiet_seconds() for one in found if one), default=0.0)
