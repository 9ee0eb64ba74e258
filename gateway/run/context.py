"""What every piece of work is given."""

from dataclasses import dataclass, field

from gateway.catalog import Catalog
from gateway.clients import Clients
from gateway.run.progress import Progress
from gateway.settings import GatewaySettings
from servicekit.storage import ObjectStore


@dataclass(frozen=True)
class Context:
    """Store, clients, settings, and the progress of what runs, by subject."""

    store: ObjectStore
    catalog: Catalog
    clients: Clients
    settings: GatewaySettings
    progress: dict[str, Progress] = field(default_factory=dict)

    def begin(self, subject: str) -> Progress:
        """Returns fresh progress of a subject."""
        return self.progress.setdefault(subject, Progress())
