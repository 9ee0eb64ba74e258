"""A channel that opens on first use, which must be inside the event loop that uses it."""

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from servicekit.channels import open_channel
from servicekit.tls.certificates import Certificates


class LazyChannel:
    """Opens a channel to `target` when it is first asked for; with TLS if given certificates."""

    def __init__(
        self, target: str, certificates: Certificates | None, *services: ServiceDescriptor
    ) -> None:
        self._target, self._services = target, services
        self._certificates = certificates
        self._channel: grpc.aio.Channel | None = None

    def open(self) -> grpc.aio.Channel:
        """Returns the channel."""
        if self._channel is None:
            self._channel = open_channel(
                self._target, *self._services, certificates=self._certificates
            )
        return self._channel

    async def close(self) -> None:
        """Closes the channel, if it was opened."""
        if self._channel is not None:
            await self._channel.close()
