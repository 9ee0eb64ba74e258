"""The connection to Triton: one inference a call, each with a future that can be cancelled."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from generator.engine.items import Made
from generator.triton.faults import from_text
from generator.triton.memory import Slots
from generator.triton.signature import MODEL, Arrays
from servicekit.errors import Internal, ServiceError, Unavailable

_log = logging.getLogger(__name__)

# Without the first two a server that was away for a while is looked for every two minutes only.
_CHANNEL = [
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
]


class TritonConnection:
    """Calls the model in a Triton server at `target`, "HOST:PORT". Thread-safe.

    Failures are ServiceErrors: what the engine raised, or Unavailable where Triton itself fails.
    """

    def __init__(self, target: str, slots: Slots | None = None) -> None:
        self.target = target
        self.answered = 0.0
        self._slots = slots
        self._client = triton.InferenceServerClient(target, channel_args=_CHANNEL)
        self._under_way: set[Future[Made]] = set()
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Makes the shared memory known to a server that was started anew. Raises Unavailable."""
        if self._slots is not None:
            try:
                self._slots.register(self._client)
            except InferenceServerException as error:
                raise self._named(error) from error

    def infer(
        self, arrays: Arrays, future: "Future[Made]", headers: Mapping[str, str] | None = None
    ) -> None:
        """Sends one item; `future` gets the image. Cancelling it cancels the inference.

        `headers` are metadata of the call, such as the trace that it is a part of.
        """
        size = sum(values.nbytes for values in arrays.values())
        slot = self._slots.borrow(size) if self._slots is not None else None
        with self._lock:
            self._under_way.add(future)

        def answered(result: triton.InferResult, error: Exception | None) -> None:
            if self._slots is not None and slot is not None:
                self._slots.give_back(slot)
            self._settle(future, lambda: self._made(result, error))

        try:
            inputs, more = self._inputs(arrays, slot), dict(headers or {})
            call = self._client.async_infer(MODEL, inputs, answered, headers=more)
        except Exception as error:
            answered(None, error)
            return
        # Of a call that was answered this changes nothing.
        future.add_done_callback(lambda _: call.cancel())

    def fail_all(self, error: ServiceError) -> None:
        """Ends everything that is under way: a dead model never answers."""
        with self._lock:
            under_way = list(self._under_way)

        def failed() -> Made:
            raise error

        for future in under_way:
            self._settle(future, failed)

    def close(self) -> None:
        """Ends what is under way and closes the channel."""
        self.fail_all(Unavailable("the generator is shutting down", reason="SHUTTING_DOWN"))
        self._client.close()
        if self._slots is not None:
            self._slots.close()

    def _inputs(self, arrays: Arrays, slot: int | None) -> list[triton.InferInput]:
        inputs, shared = [], []
        for name, values in arrays.items():
            tensor = triton.InferInput(name, values.shape, np_to_triton_dtype(values.dtype))
            if self._slots is None or slot is None:
                tensor.set_data_from_numpy(values)
            else:
                shared.append((tensor, values))
            inputs.append(tensor)
        if self._slots is not None and slot is not None:
            self._slots.fill(slot, shared)
        return inputs

    def _settle(self, future: "Future[Made]", outcome: Callable[[], Made]) -> None:
        """Gives a future its outcome, once: an answer and a failed probe may come together."""
        with self._lock:
            if future not in self._under_way:
                return
            self._under_way.remove(future)
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(outcome())
        except Exception as error:
            future.set_exception(error)

    def _made(self, result: triton.InferResult, error: Exception | None) -> Made:
        if error is not None:
            raise self._named(error) if isinstance(error, InferenceServerException) else error
        self.answered = time.monotonic()
        pixels: NDArray[np.uint8] = result.as_numpy("PIXELS")[0]
        queued, computed = result.as_numpy("SECONDS")[0].tolist()
        return Made(pixels, queued, computed)

    def _named(self, error: InferenceServerException) -> ServiceError:
        text, status = str(error.message()), str(error.status())
        known = from_text(text)
        if known is not None:
            self.answered = time.monotonic()
            return known
        if "INVALID_ARGUMENT" in status and "shared memory" not in text:
            _log.error("Triton refused a request: %s", text)
            return Internal("internal error; the server's log has the trace")
        return unavailable(self.target, text)


def unavailable(target: str, why: Any) -> Unavailable:
    """Returns the error of a Triton that cannot be used."""
    return Unavailable(
        f"images cannot be made now: Triton at {target} does not work ({why}); try again shortly, "
        "or look whether tritonserver runs there",
        reason="TRITON_UNAVAILABLE",
        retry_after=2.0,
    )
