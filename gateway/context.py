"""What every piece of work is given."""

import threading
from dataclasses import dataclass, field

from gateway.api.catalog import Catalog
from gateway.clients import Clients
from gateway.durable.progress import WorkProgress
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

    def begin(self, subject: str) -> WorkProgress:
        """Returns fresh progress of a subject."""
        return self.progress.setdefault(subject, WorkProgress())
