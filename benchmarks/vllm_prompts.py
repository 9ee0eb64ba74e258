"""Tokens a second that a real vLLM writes for the prompter: 32 prompts in flight, against one.

Run it with `python -m benchmarks.vllm_prompts` after `make vllm`. Both ask for contextual prompts
of the same classes, through the prompter's own client. The rate of the prefix cache is vLLM's own,
of the prompts in flight together.
"""

import asyncio
import json
import tempfile
import time
import urllib.request
from pathlib import Path

from prompter.llm import LanguageModel
from prompter.llms import find_language_model, packaged
from prompter.strategies.registry import all_strategies
from prompter.subject import find_subject
from prompter.vllm.launcher import LocalVllm
from prompter.wordnet import WordNet

CLASSES = ("dog", "fire truck", "airplane", "frog")
IN_FLIGHT, ALONE = 32, 4
REQUIRED = 2.0


def measure() -> dict[str, float]:
    """Returns the ratio of the two rates, both rates in tokens/s, and the cache's hit rate."""
    folder, _ = packaged.export()
    with (
        tempfile.TemporaryDirectory() as scratch,
        LocalVllm(folder, packaged.NAME, Path(scratch) / "vllm.log") as server,
    ):
        return asyncio.run(_measure(server))


async def _measure(server: LocalVllm) -> dict[str, float]:
    model = find_language_model(server.setting).open()
    await _write(model, CLASSES[0], 2, seed=0)  # the first calls pay for what is set up once
    alone, _ = await _rate(server, model, ALONE, in_flight=1)
    together, hits = await _rate(server, model, IN_FLIGHT, in_flight=IN_FLIGHT)
    await model.close()
    return {
        "ratio": together / alone,
        "required": REQUIRED,
        "tokens_per_second": together,
        "tokens_per_second_alone": alone,
        "prefix_cache_hit_rate": hits,
    }


async def _rate(
    server: LocalVllm, model: LanguageModel, count: int, *, in_flight: int
) -> tuple[float, float]:
    """Returns tokens/s and the cache's hit rate of `count` prompts of every class."""
    before, began = _counters(server), time.perf_counter()
    for name in CLASSES:
        for seed in range(count // in_flight):
            await _write(model, name, in_flight, seed=1 + seed)
    seconds = time.perf_counter() - began
    tokens, queries, hits = (
        now - then for now, then in zip(_counters(server), before, strict=True)
    )
    return tokens / seconds, hits / queries


async def _write(model: LanguageModel, class_name: str, count: int, *, seed: int) -> None:
    subject = find_subject(WordNet(), class_name)
    async for _ in all_strategies()["contextual"].write(subject, seed, count, model):
        pass


def _counters(server: LocalVllm) -> tuple[float, float, float]:
    """Returns tokens written, and tokens asked of and found in the prefix cache, so far."""
    with urllib.request.urlopen(f"{server.url.removesuffix('/v1')}/metrics", timeout=30) as page:
        lines = page.read().decode().splitlines()

    def value(name: str) -> float:
        return sum(
            float(line.split()[-1]) for line in lines if line.startswith(f"vllm:{name}_total{{")
        )

    return value("generation_tokens"), value("prefix_cache_queries"), value("prefix_cache_hits")


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
