"""Callers of a gateway, each with a token of its own."""

from contextlib import asynccontextmanager

from google.longrunning import operations_pb2_grpc
from variegate.gateway.v1 import gateway_pb2 as pb
from variegate.gateway.v1 import gateway_pb2_grpc as rpc

from servicekit.channels import open_channel
from servicekit.tokens import hash_of, new_token
from tests.gateway.system import System, open_system


class Gateway:
    """A running gateway that asks its callers who they are."""

    def __init__(self, system, target):
        self._system, self.target = system, target
        self._channels = []

    @property
    def unknown(self):
        """The System of a caller without a token."""
        return self._system

    def caller(self, token):
        """A System whose calls carry the token."""
        service = pb.DESCRIPTOR.services_by_name["GatewayService"]
        channel = open_channel(self.target, service, token=lambda: token)
        self._channels.append(channel)
        return System(
            rpc.GatewayServiceStub(channel),
            operations_pb2_grpc.OperationsStub(channel),
            self._system.store,
            self._system.trouble,
            self._system.doubles,
            self._system.settings,
        )

    async def close(self):
        for channel in self._channels:
            await channel.close()


class Tokens:
    """A file of hashed tokens, and the tokens."""

    def __init__(self, path):
        self.path, self._lines = path, ["# who may call"]
        path.write_text("\n".join(self._lines))

    def add(self, name, scope, *rest):
        """Adds a principal, and returns its token."""
        token = new_token()
        self._lines.append(" ".join([name, scope, hash_of(token), *rest]))
        self.path.write_text("\n".join(self._lines) + "\n")
        return token


@asynccontextmanager
async def open_gateway(state, *roots, **settings):
    """Runs a gateway with these settings of who may call."""
    async with open_system(state, *roots, **settings) as system:
        gateway = Gateway(system, system.target)
        yield gateway
        await gateway.close()
