"""Runs all benchmarks and writes benchmarks/results.json: `make bench`, or name some of them.

Each is a module with `measure() -> dict`, whose "ratio" compares two ways of doing the same work in
one run (more is better) and whose "required" is the least we accept, or None. Those of LONG take
more than minutes the first time, or need a GPU, and run only when they are named.
"""

import importlib
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from servicekit.errors import Precondition

BENCHMARKS = (
    "mixing",
    "captioner_batching",
    "clip_batching",
    "vllm_prompts",
    "duplicates",
    "senses",
    "system_throughput",
    "gateway_overhead",
    "object_store",
    "training_loop",
    "triton_path",
)
LONG = (
    "retriever_scale",
    "screening_scale",
    "gateway_scale",
    "streaming",
    "replicas",
    "training_memory",
    "gpu",
)
RESULTS = Path(__file__).parent / "results.json"


def main(names: list[str]) -> int:
    """Measures and merges into the results.

    Returns 1 if a ratio is below what is required, 3 if a benchmark cannot run on this machine.
    """
    known = (*BENCHMARKS, *LONG)
    unknown = sorted(set(names) - set(known))
    if unknown:
        print(f"no benchmark {unknown[0]}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    found = {entry["name"]: entry for entry in _read()}
    for name in names or BENCHMARKS:
        print(f"{name} ...", flush=True)
        try:
            entry = {"name": name, **_measure(name), "machine": machine()}
        except Precondition as error:
            print(f"{name} cannot run: {error}", file=sys.stderr)
            return error.exit_code
        found[name] = entry
        print(_line(entry), flush=True)
        ordered = [found[one] for one in known if one in found]
        RESULTS.write_text(json.dumps(ordered, indent=2) + "\n")
    return int(any(_is_short(entry) for entry in found.values()))


def _measure(name: str) -> dict[str, Any]:
    measured = importlib.import_module(f"benchmarks.{name}").measure()
    rest = {key: _rounded(value) for key, value in measured.items()}
    return {"ratio": rest.pop("ratio"), "required": rest.pop("required", None), "figures": rest}


def _rounded(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _line(entry: dict[str, Any]) -> str:
    required = entry["required"]
    wanted = "" if required is None else f"  (at least {required})"
    mark = "SHORT" if _is_short(entry) else "ok"
    return f"  {mark:5} {entry['name']:22} {entry['ratio']:.3g}{wanted}  {entry['figures']}"


def _is_short(entry: dict[str, Any]) -> bool:
    return entry["required"] is not None and entry["ratio"] < entry["required"]


def _read() -> list[dict[str, Any]]:
    return list(json.loads(RESULTS.read_text())) if RESULTS.exists() else []


def machine() -> str:
    """Names the machine in words: processor, cores, system."""
    models = {
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    }
    return f"{' '.join(models)}, {os.cpu_count()} cores, {platform.system()}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
