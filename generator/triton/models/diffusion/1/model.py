"""The diffusion engine in Triton's python backend."""

import json
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import triton_python_backend_utils as triton

from generator.backends import start_engine
from generator.engine.items import Item, Made
from generator.errors import translate
from generator.settings import GeneratorSettings
from generator.triton.faults import to_text
from generator.triton.signature import Request, expectation, to_request
from servicekit.errors import InvalidArgument, Precondition
from servicekit.settings import load
from servicekit.storage import open_store
from servicekit.workload import metrics_of

# How often Triton is asked whether a caller gave up.
_POLL_SECONDS = 0.1
# Triton's names of gRPC's codes; the classes themselves are not there yet when this is imported.
_CODES = {
    "INVALID_ARGUMENT": "INVALID_ARG",
    "NOT_FOUND": "NOT_FOUND",
    "RESOURCE_EXHAUSTED": "UNAVAILABLE",
    "UNAVAILABLE": "UNAVAILABLE",
}


@dataclass(frozen=True, eq=False)
class _Taken:
    request: Request
    sender: Any


class TritonPythonModel:
    """Hands requests to the engine and sends each answer when it is ready."""

    def initialize(self, args: dict[str, str]) -> None:
        # With numpy 2 this backend goes READY and returns empty tensors.
        if int(np.__version__.split(".")[0]) >= 2:
            raise RuntimeError(f"numpy {np.__version__} is installed; Triton needs numpy < 2")
        if "SERVER_STORE" not in os.environ:
            raise RuntimeError("SERVER_STORE is not set; give Triton the same store as the front")
        settings = load(GeneratorSettings, os.environ, "GENERATOR")
        if args["model_instance_kind"] == "GPU":
            settings = replace(settings, device=f"cuda:{args['model_instance_device_id']}")
        self._engine = start_engine(settings, open_store(os.environ["SERVER_STORE"]))
        self._inputs = [entry["name"] for entry in json.loads(args["model_config"])["input"]]
        self._running: dict[Future[Made], Any] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        # The families must live as long as their metrics.
        self._metrics = triton.MetricFamily(
            name="variegate_generator_steps",
            description="Denoising steps, each image counted.",
            kind=triton.MetricFamily.COUNTER,
        )
        labels = {"instance": args["model_instance_name"]}
        self._steps = self._metrics.Metric(labels=labels)
        self._families = [
            triton.MetricFamily(name=name, description=meaning, kind=triton.MetricFamily.GAUGE)
            for name, meaning, _ in metrics_of("generator")
        ]
        self._gauges = [family.Metric(labels=labels) for family in self._families]
        self._watcher = threading.Thread(target=self._watch, name="watch-callers", daemon=True)
        self._watcher.start()

    def execute(self, requests: Sequence[Any]) -> None:
        """Returns at once; the answers follow through the requests' senders."""
        accepted = [taken for request in requests if (taken := self._take(request)) is not None]
        together = [taken for taken in accepted if not taken.request.is_urgent]
        alone = [taken for taken in accepted if taken.request.is_urgent]
        try:
            futures = self._engine.submit_all([taken.request.item for taken in together])
        except Exception:
            # One of them cannot wait or cannot be made; the others can.
            alone += together
        else:
            for taken, future in zip(together, futures, strict=True):
                self._follow(taken.sender, future)
        for taken in alone:
            self._submit(taken)

    def finalize(self) -> None:
        self._closing.set()
        self._watcher.join()
        self._engine.close()

    def _take(self, request: Any) -> _Taken | None:
        sender = request.get_response_sender()
        try:
            wanted = to_request(
                {
                    name: triton.get_input_tensor_by_name(request, name).as_numpy()
                    for name in self._inputs
                }
            )
            self._refuse_another_engine(wanted.item, wanted.expected)
        except ValueError as error:
            _fail(sender, InvalidArgument(str(error), field="inputs", reason="BAD_TENSORS"))
        except Exception as error:
            _fail(sender, error)
        else:
            return _Taken(wanted, sender)
        return None

    def _refuse_another_engine(self, item: Item, expected: str) -> None:
        digest = self._engine.card(item.model).digest
        own = expectation(digest, self._engine.settings.signature(deterministic=item.deterministic))
        if expected != own:
            raise Precondition(
                f"the caller expects {expected}; Triton has {own}. Give both the same models and "
                "the same GENERATOR_... settings",
                subject=item.model,
                reason="ENGINE_MISMATCH",
            )

    def _submit(self, taken: _Taken) -> None:
        engine, item = self._engine, taken.request.item
        try:
            urgent = taken.request.is_urgent
            future = engine.submit_urgent(item) if urgent else engine.submit(item)
        except Exception as error:
            _fail(taken.sender, error)
        else:
            self._follow(taken.sender, future)

    def _follow(self, sender: Any, future: "Future[Made]") -> None:
        with self._lock:
            self._running[future] = sender
        future.add_done_callback(self._answer)

    def _answer(self, future: "Future[Made]") -> None:
        with self._lock:
            sender = self._running.pop(future)
        if future.cancelled():
            error = triton.TritonError("cancelled by the caller", triton.TritonError.CANCELLED)
            _send(sender, triton.InferenceResponse(error=error))
        elif (failure := future.exception()) is not None:
            _fail(sender, failure)
        else:
            made = future.result()
            seconds = np.array([[made.queue_seconds, made.compute_seconds]])
            outputs = [
                triton.Tensor("PIXELS", made.pixels[None]),
                triton.Tensor("SECONDS", seconds),
            ]
            _send(sender, triton.InferenceResponse(outputs))

    def _watch(self) -> None:
        """Drops what nobody waits for any more, and keeps the metrics."""
        counted = 0
        while not self._closing.wait(_POLL_SECONDS):
            with self._lock:
                running = list(self._running)
            for future in running:
                if self._is_given_up(future):
                    future.cancel()
            steps = self._engine.step_count
            if steps > counted:
                self._steps.increment(steps - counted)
                counted = steps
            workload = self._engine.workload()
            for gauge, (_, _, value) in zip(self._gauges, metrics_of("generator"), strict=True):
                gauge.set(value(workload))

    def _is_given_up(self, future: "Future[Made]") -> bool:
        # Asking a sender that has answered crashes the server, so no answer may be sent meanwhile.
        with self._lock:
            sender = self._running.get(future)
            return sender is not None and bool(sender.is_cancelled())


def _fail(sender: Any, error: BaseException) -> None:
    known = translate(error if isinstance(error, Exception) else RuntimeError(repr(error)))
    code = getattr(triton.TritonError, _CODES.get(known.code.name, "INTERNAL"))
    failure = triton.TritonError(to_text(known), code)
    _send(sender, triton.InferenceResponse(error=failure))


def _send(sender: Any, response: Any) -> None:
    sender.send(response, flags=triton.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
