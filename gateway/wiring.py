"""Puts the gateway together."""

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from variegate.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from gateway.api.catalog import Catalog
from gateway.api.estimates import Estimator
from gateway.api.operations import DurableOperations
from gateway.api.progress_messages import described
from gateway.api.service import GatewayService
from gateway.api.validation import Validator
from gateway.auth.access import Access
from gateway.auth.opening import open_admission
from gateway.clients import Clients
from gateway.context import Context
from gateway.durable.durable import Durable
from gateway.durable.fenced import FencedStore
from gateway.settings import GatewaySettings
from gateway.work import do
from servicekit.operations import OperationsServicer
from servicekit.server import Service
from servicekit.storage import ObjectStore
from servicekit.workload import Workload


def create_service(settings: GatewaySettings, store: ObjectStore) -> Service:
    """Returns the gateway as a service."""
    clients = Clients.of(settings)
    fenced = FencedStore(store, lambda: durable.holds())
    context = Context(fenced, Catalog(fenced), clients, settings)
    durable = Durable(
        settings.database_url,
        settings.executor_id,
        lambda subject: do(context, subject),
        lease_seconds=settings.lease_seconds,
        describe=lambda subject: described(context.progress.get(subject)).SerializeToString(),
        closing=context.closing,
        watch=context.metrics,
    )
    access = Access(fenced, settings.auth_store_prefixes)
    operations = DurableOperations(durable, context.catalog, context.progress, access)
    validator = Validator(store, context.catalog, clients, settings)
    estimator = Estimator(context)
    service = GatewayService(
        operations, context.catalog, validator, estimator, clients.trainer, access
    )

    def register(server: grpc.aio.Server) -> None:
        gateway_pb2_grpc.add_GatewayServiceServicer_to_server(service, server)
        operations_pb2_grpc.add_OperationsServicer_to_server(OperationsServicer(operations), server)

    def workload() -> Workload:
        return Workload(0, len(durable.subjects), last_batch=0, max_batch=1, seconds_waiting=0.0)

    def quiet_seconds() -> float:
        return context.quiet_seconds(durable.subjects)

    async def close() -> None:
        await durable.close()
        await clients.close()

    return Service(
        name="gateway",
        full_names=(
            gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"].full_name,
            operations_pb2.DESCRIPTOR.services_by_name["Operations"].full_name,
        ),
        register=register,
        load=durable.launch,
        close=close,
        probe=durable.is_serving,
        workload=workload,
        collectors=context.metrics.collectors(quiet_seconds),
        admission=open_admission(settings),
        certificates=clients.certificates,
    )
