"""BLIP-2 through transformers: captions of a batch of images, each with its own prefix."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captioner.captions import Caption, CaptionTask
from captioner.model_folder import digest_of, find_model, variant_of
from servicekit.devices import find_device
from servicekit.errors import Exhausted, InvalidArgument, Precondition

if TYPE_CHECKING:
    from torch import Tensor


class BlipCaptioner:
    """Greedy captions of BLIP-2 with a decoder-only language model (OPT).

    Prompts are padded on the left and masked, so tasks with different prefixes share a batch and a
    caption does not depend on its neighbours.
    """

    def __init__(self, model: Path, *, name: str = "", revision: str = "", device: str = "cpu"):
        """Loads the model. Raises Precondition if `model` is not a BLIP-2 we can use."""
        from models.torchvision_cpu import declare_missing_operators

        declare_missing_operators()
        import torch
        from transformers import Blip2ForConditionalGeneration, Blip2Processor
        from transformers.utils import logging

        logging.disable_progress_bar()
        folder = find_model(model, revision)
        self.id = f"{name or model.name}@{digest_of(folder)[:12]}"
        self._device = find_device(device, "CAPTIONER_DEVICE")
        dtype = torch.float32 if self._device.type == "cpu" else torch.float16
        self.dtype = str(dtype).removeprefix("torch.")
        self.device = self._device.type
        try:
            self._processor = Blip2Processor.from_pretrained(folder)
            self._model = Blip2ForConditionalGeneration.from_pretrained(
                folder, dtype=dtype, use_safetensors=True, variant=variant_of(folder)
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise _no_blip(folder, error) from error
        self._tokenizer = self._processor.tokenizer
        self._model.to(self._device).eval()
        self._context: int = self._model.config.text_config.max_position_embeddings
        if self._model.config.text_config.is_encoder_decoder:
            raise Precondition(
                f"{model} has an encoder-decoder language model, which does not continue a prefix; "
                "use a BLIP-2 with OPT",
                subject=str(model),
                reason="MODEL_UNSUPPORTED",
            )

    def caption(self, tasks: Sequence[CaptionTask]) -> list[Caption | Exception]:
        """Returns one caption per task.

        Exhausted for a task too large for the device's memory, InvalidArgument for a prefix that
        leaves no room in the model's context.
        """
        import torch

        prompts = [self._prompt_ids(task.prefix) for task in tasks]
        room = self._context - max(len(prompt) for prompt in prompts)
        if room < max(task.max_tokens for task in tasks):
            if len(tasks) > 1:
                return self._in_halves(tasks)
            if room < 1:
                return [self._too_long(tasks[0])]
            tasks = [replace(tasks[0], max_tokens=room)]
        try:
            with torch.inference_mode():
                return list(self._caption(tasks, prompts))
        except torch.OutOfMemoryError:
            pass  # Handled below: here the error's traceback keeps the failed call's memory.
        torch.cuda.empty_cache()
        if len(tasks) > 1:
            return self._in_halves(tasks)
        message = f"the device has no memory for one caption with {self.id}"
        return [Exhausted(message, reason="GPU_OUT_OF_MEMORY", retry_after=5.0)]

    def _in_halves(self, tasks: Sequence[CaptionTask]) -> list[Caption | Exception]:
        half = len(tasks) // 2
        return [*self.caption(tasks[:half]), *self.caption(tasks[half:])]

    def _too_long(self, task: CaptionTask) -> InvalidArgument:
        return InvalidArgument(
            f"prefix has {len(task.prefix)} characters, more than {self.id} can read and go on "
            f"from; its context is {self._context} tokens; shorten the prefix",
            field="prefix",
            reason="PREFIX_TOO_LONG",
        )

    def _caption(self, tasks: Sequence[CaptionTask], prompts: list[list[int]]) -> list[Caption]:
        pixels = self._processor.image_processor(
            images=[task.image for task in tasks], return_tensors="pt"
        )["pixel_values"]
        input_ids, mask = self._padded(prompts)
        outputs = self._model.generate(
            pixel_values=pixels.to(self._device, self._model.dtype),
            input_ids=input_ids,
            attention_mask=mask,
            max_new_tokens=max(task.max_tokens for task in tasks),
            do_sample=False,
            num_beams=1,
            pad_token_id=self._pad_id,
            return_dict_in_generate=True,
            output_logits=True,
        )
        step_count = len(outputs.logits)
        tokens = outputs.sequences[:, -step_count:]
        log_probs = self._log_probs(outputs.logits, tokens)
        return [
            self._finish(task, prompt, row.tolist(), scores.tolist())
            for task, prompt, row, scores in zip(tasks, prompts, tokens, log_probs, strict=True)
        ]

    def _finish(
        self, task: CaptionTask, prompt: list[int], tokens: list[int], scores: list[float]
    ) -> Caption:
        end = self._tokenizer.eos_token_id
        written = tokens[: task.max_tokens]
        # The end token counts: how sure the model is that nothing is missing.
        length = written.index(end) + 1 if end in written else len(written)
        scored = scores[:length]
        # Decoded with and without what is new, because decoders differ in where they put spaces.
        known = self._decode(prompt)
        whole = self._decode(prompt + written[:length])
        text = task.prefix.rstrip() + whole.removeprefix(known)
        return Caption(" ".join(text.split()), sum(scored) / max(len(scored), 1))

    def _prompt_ids(self, prefix: str) -> list[int]:
        ids: list[int] = self._tokenizer(prefix.rstrip())["input_ids"]
        start = self._model.config.text_config.bos_token_id
        if not ids and start is not None:
            ids = [start]
        # A tokenizer that ends every text would end the caption before it begins.
        if len(ids) > 1 and ids[-1] == self._tokenizer.eos_token_id:
            ids = ids[:-1]
        config = self._model.config
        return [config.image_token_index] * config.num_query_tokens + ids

    def _padded(self, prompts: list[list[int]]) -> tuple["Tensor", "Tensor"]:
        """Returns ids and mask, [n, longest], padded on the left."""
        import torch

        width = max(len(prompt) for prompt in prompts)
        ids = torch.full((len(prompts), width), self._pad_id)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        return ids.to(self._device), mask.to(self._device)

    def _log_probs(self, logits: tuple["Tensor", ...], tokens: "Tensor") -> "Tensor":
        """Returns the log probability of each token: n rows of as many steps as were taken."""
        import torch

        steps = torch.stack(logits, dim=1).float().log_softmax(-1)  # (n, steps, words)
        return steps.gather(-1, tokens[..., None])[..., 0].cpu()

    def _decode(self, ids: list[int]) -> str:
        image = self._model.config.image_token_index
        kept: Any = [token for token in ids if token != image]
        text: str = self._tokenizer.decode(kept, skip_special_tokens=True)
        return text

    @property
    def _pad_id(self) -> int:
        pad: int | None = self._tokenizer.pad_token_id
        return self._tokenizer.eos_token_id if pad is None else pad


def _no_blip(folder: Path, error: Exception) -> Precondition:
    said = str(error).partition("\n")[0]
    return Precondition(
        f"{folder} does not load as a BLIP-2 ({said}); point CAPTIONER_MODEL at what its "
        "save_pretrained and its processor's wrote",
        subject=str(folder),
        reason="MODEL_BROKEN",
    )
