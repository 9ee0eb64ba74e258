"""A causal language model in a local folder, run in process with transformers."""

import asyncio
import hashlib
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from prompter.llm import LanguageModel, LanguageModelSource, Reply, Task
from servicekit.errors import DeadlineExceeded, Precondition
from servicekit.weights import weights_variant

TEMPERATURE = 0.7
TOP_K = 40
_MAX_TOKENS = 20
# In place of a task's guide, which makes a small model in process slow.
_SYSTEM = "Write one image caption."


def find(setting: str, threads: int) -> LanguageModelSource | None:
    """Returns the model in a folder; None if `setting` is none with a safetensors file in it."""
    path = Path(setting)
    if not list(path.glob("*.safetensors")):
        return None

    def load() -> LanguageModel:
        try:
            return FolderLanguageModel(path, path.name, digest_of(path), threads)
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            said = str(error).partition("\n")[0]
            raise Precondition(
                f"{path} does not load as a language model ({said}); set PROMPTER_LLM to a folder "
                "that save_pretrained wrote",
                subject=str(path),
                reason="LLM_BROKEN",
            ) from error

    return LanguageModelSource(load, None, lambda: id_of(path.name, digest_of(path)))


def id_of(name: str, digest: str) -> str:
    """Returns the id of a local model."""
    return f"{name}@{digest[:12]}"


def digest_of(path: Path) -> str:
    """Returns the SHA-256 of the names and contents of the model files in a folder."""
    digest = hashlib.sha256()
    for file in sorted(path.iterdir()):
        if file.suffix in {".safetensors", ".json", ".jinja"}:
            digest.update(file.name.encode() + b"\0")
            with file.open("rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()


class FolderLanguageModel:
    """Samples (top-k) with one generator per text, so that a text depends on its own seed only.

    It goes on from the opening, so there is nothing to parse, and writes one text per task. All
    work is done in one thread.
    """

    # Floating point depends on the shape of a batch: it must not vary with what was asked for.
    chunk = 20
    whole_chunks = True
    lists = False

    def __init__(self, path: Path, name: str, digest: str, threads: int) -> None:
        from models.torchvision_cpu import declare_missing_operators

        declare_missing_operators()
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        if threads:
            torch.set_num_threads(threads)
        self.id = id_of(name, digest)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="language model")
        self._tokenizer = AutoTokenizer.from_pretrained(path, padding_side="left")
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._ends = _sentence_ends(self._tokenizer)
        self._model = AutoModelForCausalLM.from_pretrained(
            path,
            dtype=torch.float32,
            use_safetensors=True,
            variant=weights_variant(file.name for file in path.glob("*.safetensors")),
        ).eval()

    async def complete(self, tasks: Sequence[Task], deadline: float | None) -> list[Reply]:
        """Returns one reply per task. Runs them as one batch, which ends early when cancelled."""
        stop, loop = threading.Event(), asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, self._complete, tasks, deadline, stop)
        finally:
            stop.set()

    async def close(self) -> None:
        """Waits for what is running."""
        await asyncio.to_thread(self._thread.shutdown, wait=True, cancel_futures=True)

    def _complete(
        self, tasks: Sequence[Task], deadline: float | None, stop: threading.Event
    ) -> list[Reply]:
        import torch

        def is_over(*_: Any, **__: Any) -> Any:
            late = deadline is not None and time.monotonic() > deadline
            return torch.full((len(tasks),), late or stop.is_set(), dtype=torch.bool)

        texts = [self._chat(task) for task in tasks]
        inputs = self._tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        with torch.inference_mode():
            outputs = self._model.generate(
                **inputs,
                max_new_tokens=_MAX_TOKENS,
                do_sample=False,  # the noise added to the logits makes the greedy choice a draw
                logits_processor=[_SeededNoise([task.seed for task in tasks])],
                stopping_criteria=[is_over],
                eos_token_id=self._ends,
                pad_token_id=self._tokenizer.pad_token_id,
            )
        if deadline is not None and time.monotonic() > deadline:
            raise DeadlineExceeded(f"the language model {self.id} was too slow", reason="LLM_SLOW")
        written = self._tokenizer.batch_decode(
            outputs[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
        whole = [task.opening + text for task, text in zip(tasks, written, strict=True)]
        return [Reply((text,), text) for text in whole]

    def _chat(self, task: Task) -> str:
        messages = [
            {"role": "system", "content": _SYSTEM},
            {"role": "user", "content": task.instruction},
        ]
        chat: str = self._tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        return chat + task.opening


def _sentence_ends(tokenizer: Any) -> list[int]:
    """Returns the ids of all tokens after which a sentence, or the text, is over."""
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    # "Ċ" is how byte-level vocabularies write a line feed.
    ends = [i for i, token in enumerate(tokens) if any(mark in token for mark in ".!?\nĊ")]
    return [tokenizer.eos_token_id, *ends]


class _SeededNoise:
    """Turns a greedy choice into a draw: the largest of logits / T + Gumbel noise is a sample.

    Row i draws its noise from its own generator, step by step.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        import torch

        self._generators = [torch.Generator().manual_seed(seed & (2**63 - 1)) for seed in seeds]

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        import torch

        values, places = (scores / TEMPERATURE).topk(TOP_K, dim=-1)
        rows = [torch.rand(TOP_K, generator=generator) for generator in self._generators]
        noise = -torch.log(-torch.log(torch.stack(rows).clamp(1e-9, 1 - 1e-7)))
        chosen = places.gather(-1, (values + noise).argmax(-1, keepdim=True))
        return torch.full_like(scores, -torch.inf).scatter(-1, chosen, 0.0)
