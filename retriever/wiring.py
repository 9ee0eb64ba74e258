"""Puts the retriever together: settings and store in, service out."""

import asyncio

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from variegate.retriever.v1 import retriever_pb2, retriever_pb2_grpc

from retriever.building import IndexBuilder
from retriever.dropping import Dropper
from retriever.embedder import Embedder
from retriever.encoder import ClipEncoder
from retriever.index import IndexKinds
from retriever.library import IndexLibrary
from retriever.screening import Parts, Screener, create_checks
from retriever.screening.protected import ProtectedLibrary
from retriever.screening.safety import SafetyCheck
from retriever.searching import Searcher
from retriever.service import Retriever, RetrieverService
from retriever.settings import RetrieverSettings
from servicekit.operations import OperationRunner, OperationsServicer
from servicekit.places import need_writable
from servicekit.server import Service
from servicekit.storage import ObjectStore
from servicekit.workload import Workload


def create_service(settings: RetrieverSettings, store: ObjectStore) -> Service:
    """Returns the service; CLIP is loaded by `load`, in a thread."""
    runner = OperationRunner(store, "retriever")
    service = RetrieverService(runner)
    parts: list[Retriever] = []

    def register(server: grpc.aio.Server) -> None:
        retriever_pb2_grpc.add_RetrieverServiceServicer_to_server(service, server)
        operations_pb2_grpc.add_OperationsServicer_to_server(OperationsServicer(runner), server)

    async def load() -> None:
        need_writable(settings.cache, "RETRIEVER_CACHE")
        encoder = await asyncio.to_thread(ClipEncoder, settings.clip, settings.device)
        parts.append(assemble(settings, store, encoder))
        service.attach(parts[0])

    async def close() -> None:
        await runner.close()
        for retriever in parts:
            await retriever.close()

    def workload() -> Workload | None:
        return parts[0].embedder.workload() if parts else None

    names = (
        retriever_pb2.DESCRIPTOR.services_by_name["RetrieverService"].full_name,
        operations_pb2.DESCRIPTOR.services_by_name["Operations"].full_name,
    )
    return Service("retriever", names, register, load, close, workload=workload)


def assemble(settings: RetrieverSettings, store: ObjectStore, encoder: ClipEncoder) -> Retriever:
    """Returns everything that handlers call, around one loaded encoder."""
    embedder = Embedder(
        encoder,
        max_batch=settings.max_batch,
        max_wait_seconds=settings.max_wait_ms / 1000,
        max_queue=settings.max_queue,
    )
    kinds = IndexKinds(settings.index, flat_limit=settings.flat_limit, milvus_uri=settings.milvus)
    library = IndexLibrary(store, kinds, cache=settings.cache, capacity=settings.loaded_indexes)
    protected, safety = (
        ProtectedLibrary(store, settings.cache, most_bytes=settings.fingerprint_bytes),
        SafetyCheck(settings.safety_threads),
    )
    checks = create_checks(Parts(embedder, protected, safety))
    dropper = Dropper(store, protected, safety)
    return Retriever(
        store=store,
        embedder=embedder,
        library=library,
        builder=IndexBuilder(store, library, embedder, shard_size=settings.shard_size),
        searcher=Searcher(dropper, threads=settings.search_threads),
        screener=Screener(store, checks),
        protected=protected,
    )
