"""The gRPC face of the captioner: proto in, proto out."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing

import grpc
from PIL import Image
from variegate.captioner.v1 import captioner_pb2 as pb
from variegate.captioner.v1 import captioner_pb2_grpc as rpc

from captioner.captions import Caption, CaptionTask
from captioner.streaming import map_unordered
from imaging.decode import ImageRejected, decode_image
from servicekit.batching import MicroBatcher
from servicekit.errors import Exhausted, InvalidArgument, ServiceError
from servicekit.statuses import to_status
from servicekit.storage import ObjectStore, to_key

_log = logging.getLogger(__name__)


class CaptionerService(rpc.CaptionerServiceServicer):
    """Serves captions. Translates; the captioner thinks, in the batcher's thread.

    `attach` gives it the loaded model; until then the server lets no call through.
    """

    def __init__(self, store: ObjectStore, *, max_tokens: int, stream_window: int) -> None:
        self._store = store
        self._max_tokens = max_tokens
        self._stream_window = stream_window
        self._batcher: MicroBatcher[CaptionTask, Caption]
        self._model, self._engine = "", ""

    def attach(
        self, batcher: MicroBatcher[CaptionTask, Caption], model: str, engine: str = ""
    ) -> None:
        """Sets what writes captions, the model's id, and what of the settings decides over them."""
        self._batcher, self._model, self._engine = batcher, model, engine

    async def CaptionImage(
        self, request: pb.CaptionImageRequest, context: grpc.aio.ServicerContext
    ) -> pb.CaptionImageResponse:
        """Answers with the caption of one image."""
        task = await self._read_task(request)
        return pb.CaptionImageResponse(caption=self._to_pb(await self._batcher.submit(task)))

    async def StreamCaptions(
        self,
        requests: AsyncIterator[pb.StreamCaptionsRequest],
        context: grpc.aio.ServicerContext,
    ) -> AsyncIterator[pb.StreamCaptionsResponse]:
        """Answers every request with its caption or its own error, in any order."""
        answers = map_unordered(self._answer, requests, window=self._stream_window)
        async with aclosing(answers):  # a caller that leaves stops the work
            async for answer in answers:
                yield answer

    async def GetModel(
        self, request: pb.GetModelRequest, context: grpc.aio.ServicerContext
    ) -> pb.Model:
        """Answers with the model."""
        capacity = self._batcher.workload().max_batch
        return pb.Model(id=self._model, engine=self._engine, capacity=capacity)

    async def _answer(self, item: pb.StreamCaptionsRequest) -> pb.StreamCaptionsResponse:
        try:
            task = await self._read_task(item.request)
            caption = await self._submit_patiently(task)
        except Exception as error:
            if not isinstance(error, ServiceError):
                _log.exception("item %s failed", item.item_id)
            return pb.StreamCaptionsResponse(
                item_id=item.item_id, error=to_status(error, "captioner")
            )
        return pb.StreamCaptionsResponse(item_id=item.item_id, caption=self._to_pb(caption))

    async def _submit_patiently(self, task: CaptionTask) -> Caption:
        """Waits for room in the queue: a stream is slowed down where a single call is refused."""
        while True:
            try:
                return await self._batcher.submit(task)
            except Exhausted as error:
                if error.reason != "QUEUE_FULL":
                    raise
                await asyncio.sleep(error.retry_after)

    async def _read_task(self, request: pb.CaptionImageRequest) -> CaptionTask:
        image = await asyncio.to_thread(self._read_image, request.image_uri)
        return CaptionTask(image, request.prefix, request.max_tokens or self._max_tokens)

    def _read_image(self, uri: str) -> Image.Image:
        data = self._store.get(to_key(uri, "image_uri"))
        try:
            return decode_image(data, uri)
        except ImageRejected as error:
            raise InvalidArgument(error.message, field="image_uri", reason=error.reason) from error

    def _to_pb(self, caption: Caption) -> pb.Caption:
        return pb.Caption(text=caption.text, mean_log_prob=caption.mean_log_prob, model=self._model)
