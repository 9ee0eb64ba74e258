"""Training runs in an experiment tracker: `--track wandb`.

The command line logs them, and no service: login and network are those of the person. No result
waits for that to succeed; what failed is said once the results are written.
"""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gateway.cli.failures import CliError

PROJECT = "variegate"
# Of an upload that hangs; what is not uploaded then stays on the disk.
_FINISH_SECONDS = 120


@dataclass(frozen=True)
class TrackedRun:
    """One training run as a tracker has it. `history` is values by name, step by step."""

    id: str
    name: str
    group: str
    config: Mapping[str, Any]
    history: Sequence[tuple[int, Mapping[str, float]]]
    summary: Mapping[str, Any]


def check(track: str | None) -> None:
    """Raises CliError if the tracker is not installed; imports nothing."""
    if track and find_spec(track) is None:
        raise CliError(
            f"--track {track} needs the package {track}, which is not installed here.",
            remedy=f"pip install 'variegate[{track}]'.",
            reason="TRACKER_MISSING",
        )


class Wandb:
    """Logs runs, each under the id of the training run, so that none is there twice.

    The mode, the project and the login are wandb's own: WANDB_MODE, WANDB_PROJECT, WANDB_API_KEY
    and the rest of its environment and settings files.
    """

    def __init__(self) -> None:
        self._logged: list[str] = []
        self._known: list[Path] = []
        self._asked = 0
        self._failure = ""
        self._is_stopped = False
        self._module: Any = None
        self._place = self._mode = ""

    async def log(self, run_id: str, make: Callable[[], TrackedRun]) -> None:
        """Logs the run that `make` returns. Once wandb has failed no other is tried: each might
        take as long to fail."""
        self._asked += 1
        if not self._is_stopped:
            await asyncio.to_thread(self._try, run_id, make)

    async def conclude(self, say: Callable[[str], None]) -> None:
        """Ends wandb, and says what was logged and what was not."""
        if self._module is not None:
            await asyncio.to_thread(self._end)
        for text in self._sentences():
            say(text)

    def _try(self, run_id: str, make: Callable[[], TrackedRun]) -> None:
        try:
            settings = self._begin()
            found = sorted(Path(settings.wandb_dir).glob(f"offline-run-*_*-{run_id}"))
            if self._mode == "offline" and found:
                self._known.append(found[0])
            elif self._mode != "disabled":
                self._log(make())
                self._logged.append(run_id)
        except Exception as error:  # whatever it is, it costs no result
            from servicekit.errors import ServiceError

            self._is_stopped = not isinstance(error, ServiceError)  # Of the object store.
            self._fail(error)

    def _begin(self) -> Any:
        """Imports wandb, silently, and returns its settings."""
        if self._module is None:
            self._module = import_module("wandb")
            is_own = not os.environ.get("WANDB_FINISH_TIMEOUT")
            own: dict[str, Any] = {"finish_timeout": _FINISH_SECONDS} if is_own else {}
            settings = self._module.Settings(
                # It neither prints over the progress nor takes what is printed, and asks nothing.
                silent=True, console="off", finish_timeout_raises=True,
                # Of this process, which does not train.
                disable_git=True, save_code=False, x_disable_stats=True,
                x_disable_machine_info=True, x_save_requirements=False, **own,
            )  # fmt: skip
            self._module.setup(settings)
        settings = self._module.setup().settings
        self._mode = {"dryrun": "offline"}.get(settings.mode, settings.mode)
        self._place = settings.wandb_dir
        return settings

    def _log(self, run: TrackedRun) -> None:
        with self._module.init(
            project=self._module.setup().settings.project or PROJECT,
            id=run.id,
            name=run.name,
            group=run.group,
            config=dict(run.config),
            resume="allow",
        ) as opened:
            for step, values in run.history:
                opened.log(dict(values), step=step)
            opened.summary.update(dict(run.summary))
            if self._mode != "offline":
                self._place = opened.project_url or ""

    def _end(self) -> None:
        try:
            self._module.teardown()
        except Exception as error:  # as above
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        text = next(iter(str(error).strip().splitlines()), "").rstrip(".")
        self._failure = text or type(error).__name__

    def _sentences(self) -> list[str]:
        said = []
        if self._known:
            count = len(self._known)
            said.append(
                f"wandb has {count} of {self._asked} runs from before, the first in "
                f"{self._known[0]}: not logged again. Delete such a folder to log its run anew."
            )
        if self._logged:
            upload = "; `wandb sync` uploads them" if self._mode == "offline" else ""
            said.append(f"tracked {len(self._logged)} runs with wandb in {self._place}{upload}")
        if self._failure:
            missed = self._asked - len(self._logged) - len(self._known)
            said.append(
                f"warning: {missed} of {self._asked} runs were not logged with wandb: "
                f"{self._failure}. The results are complete. `wandb login` or WANDB_MODE=offline "
                "may help; the same command, with --resume if --out is taken, then logs the rest."
            )
        elif self._mode == "disabled":
            said.append("wandb is disabled (WANDB_MODE): no run was logged")
        return said
