"""Servers on loopback addresses of their own behind one name, as the pods of a headless Service."""

from contextlib import AsyncExitStack

from tests_ports import free_port

from servicekit.server import RunningServer, Service, start
from servicekit.server_settings import ServerSettings
from tests.name_server import NameServer


class BehindAName:
    """Servers on 127.0.0.2, 127.0.0.3, ... of one port; `target` names them all."""

    def __init__(self, stack: AsyncExitStack, settings: ServerSettings | None = None) -> None:
        self._settings = settings or ServerSettings()
        self.port, self.names = free_port(), stack.enter_context(NameServer())
        self.target = self.names.target(self.port)
        self.servers: dict[str, RunningServer] = {}
        self._stack, self._count = stack, 0

    async def add(self, register, *full_names: str) -> str:
        """Starts one whose servicers `register` adds, and returns its address."""
        address = f"127.0.0.{2 + self._count}"
        self._count += 1
        service = Service("replica", full_names, register, _nothing, _nothing)
        server = self.servers[address] = await start(
            service, f"{address}:{self.port}", self._settings
        )
        await server.loaded
        self._stack.push_async_callback(self.stop, address, 0)
        self.names.addresses.append(address)
        return address

    async def stop(self, address: str, grace: float) -> None:
        """Stops a server, once; the name keeps its address."""
        if server := self.servers.pop(address, None):
            await server.stop(grace)


async def _nothing():
    pass
