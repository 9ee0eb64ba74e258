"""The retriever's calls: proto in, proto out."""

import asyncio
from dataclasses import dataclass

import grpc
from google.longrunning import operations_pb2
from variegate.retriever.v1 import retriever_pb2 as pb
from variegate.retriever.v1 import retriever_pb2_grpc

from retriever import messages
from retriever.building import BuildProgress, IndexBuilder
from retriever.embedder import Embedder
from retriever.images import read_images
from retriever.library import IndexLibrary, LoadedIndex, check_encoder
from retriever.queries import embed_queries
from retriever.sampling import Draw, sample
from retriever.screening import Screener
from retriever.screening.protected import ProtectedLibrary
from retriever.screening.safety import safety_id
from retriever.searching import Searcher
from servicekit.errors import InvalidArgument, Unavailable
from servicekit.limits import MESSAGE_BYTES
from servicekit.operations import OperationRunner, RunProgress
from servicekit.storage import ObjectStore, to_key

# A little is left for framing.
_MOST_BYTES = MESSAGE_BYTES - 4096
_PAGE_SIZE = 100


@dataclass(frozen=True)
class Retriever:
    """What the calls are answered with."""

    store: ObjectStore
    embedder: Embedder
    library: IndexLibrary
    builder: IndexBuilder
    searcher: Searcher
    screener: Screener
    protected: ProtectedLibrary

    async def close(self) -> None:
        """Ends the threads."""
        self.searcher.close()
        await self.embedder.close()
        await self.protected.close()


class RetrieverService(retriever_pb2_grpc.RetrieverServiceServicer):
    """Implements variegate.retriever.v1.RetrieverService."""

    def __init__(self, runner: OperationRunner) -> None:
        self._runner = runner
        self._attached: Retriever | None = None

    def attach(self, retriever: Retriever) -> None:
        """Gives the service its loaded parts."""
        self._attached = retriever

    @property
    def _parts(self) -> Retriever:
        if self._attached is None:
            raise Unavailable("the retriever is still loading", reason="MODEL_LOADING")
        return self._attached

    async def _load(self, name: str) -> LoadedIndex:
        parts = self._parts
        return await parts.library.load(name.removeprefix("indexes/"), parts.embedder.encoder_id)

    async def GetModels(
        self, request: pb.GetModelsRequest, context: grpc.aio.ServicerContext
    ) -> pb.Models:
        embedder = self._parts.embedder
        return pb.Models(
            encoder=embedder.encoder_id, safety=safety_id(), engine=embedder.encoder_device
        )

    async def EmbedTexts(
        self, request: pb.EmbedTextsRequest, context: grpc.aio.ServicerContext
    ) -> pb.EmbedTextsResponse:
        texts, embedder = list(request.texts), self._parts.embedder
        vectors = await embedder.embed_texts(texts)
        embeddings = messages.to_embeddings(vectors, embedder.encoder_id)
        return pb.EmbedTextsResponse(
            embeddings=embeddings, cut_texts=await embedder.cut_texts(texts)
        )

    async def EmbedImages(
        self, request: pb.EmbedImagesRequest, context: grpc.aio.ServicerContext
    ) -> pb.EmbedImagesResponse:
        uris = list(request.image_uris)
        fields = [f"image_uris[{index}]" for index in range(len(uris))]
        read = await asyncio.to_thread(read_images, self._parts.store, uris, fields)
        vectors = await self._parts.embedder.embed_images([one.image for one in read])
        embeddings = messages.to_embeddings(vectors, self._parts.embedder.encoder_id)
        return pb.EmbedImagesResponse(embeddings=embeddings)

    async def CreateIndex(
        self, request: pb.CreateIndexRequest, context: grpc.aio.ServicerContext
    ) -> operations_pb2.Operation:
        parts = self._parts
        to_key(request.pool_uri.rstrip("/"), "pool_uri")
        record = await asyncio.to_thread(parts.library.find, request.index_id)
        if record is not None and record.pool_uri == request.pool_uri:
            check_encoder(record, parts.embedder.encoder_id)

        async def work(progress: RunProgress) -> pb.Index:
            def report(done: BuildProgress) -> None:
                progress.update(messages.to_metadata(done))

            built = await parts.builder.build(request.index_id, request.pool_uri, report)
            return messages.to_index(built)

        return await self._runner.start(request.index_id, request, work)

    async def GetIndex(
        self, request: pb.GetIndexRequest, context: grpc.aio.ServicerContext
    ) -> pb.Index:
        index_id = request.name.removeprefix("indexes/")
        return messages.to_index(await asyncio.to_thread(self._parts.library.get, index_id))

    async def ListIndexes(
        self, request: pb.ListIndexesRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListIndexesResponse:
        records = await asyncio.to_thread(self._parts.library.all)
        rest = [record for record in records if record.name > request.page_token]
        page = rest[: request.page_size or _PAGE_SIZE]
        return pb.ListIndexesResponse(
            indexes=[messages.to_index(record) for record in page],
            next_page_token=page[-1].name if len(rest) > len(page) else "",
        )

    async def SearchImages(
        self, request: pb.SearchImagesRequest, context: grpc.aio.ServicerContext
    ) -> pb.SearchImagesResponse:
        parts = self._parts
        index = await self._load(request.index)
        queries = messages.from_queries(request.queries)
        vectors = await embed_queries(queries, index.record, parts.embedder, parts.store)
        results = await parts.searcher.search(
            index,
            vectors,
            request.hit_count,
            messages.from_filters(request.filters),
            messages.from_drop(request.drop) if request.HasField("drop") else None,
        )
        response = messages.to_results(results)
        if response.ByteSize() > _MOST_BYTES:
            raise InvalidArgument(
                f"{len(queries)} queries with {request.hit_count} hits each make an answer of "
                f"{response.ByteSize():,} bytes, more than a message holds; ask for fewer hits or "
                "fewer queries at a time",
                field="hit_count",
                reason="RESPONSE_TOO_LARGE",
            )
        return response

    async def SampleImages(
        self, request: pb.SampleImagesRequest, context: grpc.aio.ServicerContext
    ) -> pb.SampleImagesResponse:
        index = await self._load(request.index)
        filters = messages.from_filters(request.filters)
        draw = Draw(request.seed, request.skip_count, request.image_count)
        images = await asyncio.to_thread(sample, index.metadata, filters, draw)
        return pb.SampleImagesResponse(images=[pb.SampledImage(**vars(one)) for one in images])

    async def ScreenImages(
        self, request: pb.ScreenImagesRequest, context: grpc.aio.ServicerContext
    ) -> pb.ScreenImagesResponse:
        candidates, policy = messages.from_screening(request)
        verdicts = await self._parts.screener.screen(candidates, policy)
        return pb.ScreenImagesResponse(verdicts=[messages.to_verdict(one) for one in verdicts])
