"""The client's side: a channel whose certificates follow their files."""

import asyncio
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import grpc

from servicekit.tls.certificates import Certificates, Loaded


def channel_credentials(loaded: Loaded) -> grpc.ChannelCredentials:
    """Returns the credentials of a client that believes and shows what was loaded."""
    return grpc.ssl_channel_credentials(loaded.ca or None, loaded.key or None, loaded.chain or None)


class RollingChannel(grpc.aio.Channel):
    """A channel that opens anew once the files of its certificates changed.

    gRPC reads them once for a channel. Calls in flight end in the channel that they began in; later
    ones, and connections that are lost, meet the new certificates. `opened` opens a channel.
    """

    def __init__(
        self, certificates: Certificates, opened: Callable[[Loaded], grpc.aio.Channel]
    ) -> None:
        self._certificates, self._opened = certificates, opened
        self._loaded = certificates.current()
        self._inner = opened(self._loaded)
        self._rolled = asyncio.Event()
        # Calls in flight by channel, and the channels that end with their last call.
        self._calls: Counter[grpc.aio.Channel] = Counter()
        self._old: set[grpc.aio.Channel] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._is_closed = False

    def inner(self) -> grpc.aio.Channel:
        """Returns the channel of the certificates that are in the files now."""
        found = self._certificates.current()
        if found is not self._loaded and not self._is_closed:
            old, self._loaded = self._inner, found
            self._inner = self._opened(found)
            self._old.add(old)
            self._end_idle(old)
            self._rolled.set()
            self._rolled = asyncio.Event()
        return self._inner

    def began(self, inner: grpc.aio.Channel, call: grpc.aio.Call) -> None:
        """Keeps a channel open until this call of it has ended."""
        self._calls[inner] += 1

        def end(_: object) -> None:
            self._calls[inner] -= 1
            self._end_idle(inner)

        call.add_done_callback(end)

    def _end_idle(self, inner: grpc.aio.Channel) -> None:
        if inner in self._old and not self._calls[inner]:
            self._old.discard(inner)
            del self._calls[inner]
            ending = asyncio.create_task(inner.close(), name="end of an old channel")
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    def unary_unary(self, *args: Any, **options: Any) -> "_Rolling":
        return _Rolling(self, "unary_unary", args, options)

    def unary_stream(self, *args: Any, **options: Any) -> "_Rolling":
        return _Rolling(self, "unary_stream", args, options)

    def stream_unary(self, *args: Any, **options: Any) -> "_Rolling":
        return _Rolling(self, "stream_unary", args, options)

    def stream_stream(self, *args: Any, **options: Any) -> "_Rolling":
        return _Rolling(self, "stream_stream", args, options)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self.inner().get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Returns once the state is another, or the certificates are."""
        changed = asyncio.ensure_future(self.inner().wait_for_state_change(last_observed_state))
        rolled = asyncio.ensure_future(self._rolled.wait())
        try:
            await asyncio.wait({changed, rolled}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (changed, rolled):
                task.cancel()
            await asyncio.gather(changed, rolled, return_exceptions=True)

    async def channel_ready(self) -> None:
        while (state := self.get_state(try_to_connect=True)) is not grpc.ChannelConnectivity.READY:
            await self.wait_for_state_change(state)

    async def close(self, grace: float | None = None) -> None:
        """Ends the calls in flight, of earlier certificates too."""
        self._is_closed = True
        old, self._old = self._old, set()
        closing = [one.close(grace) for one in (self._inner, *old)]
        await asyncio.gather(*closing, *self._ending)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


class _Rolling:
    """A method of whatever channel is open when it is called."""

    def __init__(
        self, channel: RollingChannel, kind: str, args: tuple[Any, ...], options: dict[str, Any]
    ) -> None:
        self._channel, self._kind = channel, kind
        self._args, self._options = args, options
        self._of: grpc.aio.Channel | None = None
        self._method: Any = None

    def __call__(self, *args: Any, **options: Any) -> Any:
        inner = self._channel.inner()
        if inner is not self._of:
            self._method = getattr(inner, self._kind)(*self._args, **self._options)
            self._of = inner
        call = self._method(*args, **options)
        self._channel.began(inner, call)
        return call
