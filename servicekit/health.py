"""grpc.health.v1.Health, with errors as our own services have them."""

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as health_aio

from servicekit.errors import NotFound

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class HealthServicer(health_aio.HealthServicer):
    """Serves Check, Watch and List. `set` says how a service is."""

    def __init__(self) -> None:
        super().__init__()
        self._known = {"": SERVING}

    async def set(self, service: str, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        """Says how a service is, "" for the whole server, and tells who watches it."""
        self._known[service] = status
        await super().set(service, status)

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        status = self._known.get(request.service)
        if status is None:
            raise NotFound(
                f"no service {request.service!r} here; there are "
                f"{', '.join(sorted(filter(None, self._known)))}",
                resource=request.service,
                reason="SERVICE_NOT_FOUND",
            )
        return health_pb2.HealthCheckResponse(status=status)

    async def List(
        self, request: health_pb2.HealthListRequest, context: grpc.aio.ServicerContext
    ) -> health_pb2.HealthListResponse:
        statuses = {
            name: health_pb2.HealthCheckResponse(status=status)
            for name, status in self._known.items()
        }
        return health_pb2.HealthListResponse(statuses=statuses)
