"""What DBOS has written down about runs of work. A run is named by its subject and a number."""

from collections.abc import Collection
from dataclasses import dataclass

from dbos import DBOS, WorkflowStatus

from gateway.durable.state import State, unpack
from servicekit.errors import Cancelled, Internal

WORKFLOW = "gateway.work"
DONE, PENDING = "SUCCESS", "PENDING"
_CANCELLED = "CANCELLED"
_OPEN = [PENDING, "ENQUEUED"]


@dataclass(frozen=True)
class Run:
    """One run of the work on a subject, as it is written down."""

    subject: str
    number: int
    status: str
    version: str = ""
    executor_id: str = ""
    ended: float = 0.0

    @property
    def id(self) -> str:
        """The name of the run."""
        return f"{self.subject}~{self.number}"

    @property
    def is_open(self) -> bool:
        """Says whether it has not ended, by what is written down."""
        return self.status in _OPEN

    def next_id(self) -> str:
        """The name of the run after this one."""
        return f"{self.subject}~{self.number + 1}"


def subject_of(run_id: str) -> str:
    """Returns the subject of a run."""
    return run_id.rpartition("~")[0]


async def newest_run(subject: str) -> Run:
    """Returns the newest run of a subject; one with the number 0 if there is none."""
    prefix = f"{subject}~"
    found = await DBOS.list_workflows_async(
        workflow_id_prefix=prefix, load_input=False, load_output=False
    )
    runs = [_run_of(one) for one in found if one.workflow_id.startswith(prefix)]
    return max(runs, key=lambda run: run.number, default=Run(subject, 0, ""))


async def open_runs() -> list[Run]:
    """Returns all runs that have not ended, on any gateway."""
    found = await DBOS.list_workflows_async(
        name=WORKFLOW, status=_OPEN, load_input=False, load_output=False
    )
    return [_run_of(one) for one in found]


async def done_subjects() -> set[str]:
    """Returns the subjects that have records of a run that ended well."""
    found = await DBOS.list_workflows_async(
        name=WORKFLOW, status=DONE, load_input=False, load_output=False
    )
    return {subject_of(one.workflow_id) for one in found}


async def cancelled_among(run_ids: Collection[str]) -> set[str]:
    """Returns the runs that somebody has cancelled."""
    if not run_ids:
        return set()
    found = await DBOS.list_workflows_async(
        workflow_ids=list(run_ids), status=_CANCELLED, load_input=False, load_output=False
    )
    return {one.workflow_id for one in found}


async def outcome_of(run: Run) -> State:
    """Returns what a run has come to."""
    if run.is_open:
        return State("running")
    if run.status == _CANCELLED:
        error = Cancelled("cancelled; repeating the request continues it")
        return State("failed", error, run.ended)
    if run.status != DONE:
        message = "the work failed; the gateway's log has the trace"
        return State("failed", Internal(message), run.ended)
    found = await DBOS.list_workflows_async(workflow_ids=[run.id], load_input=False)
    packed = found[0].output if found else ""  # Only records of what went well are deleted.
    return State("failed", unpack(packed), run.ended) if packed else State("done")


async def delete_runs(newest: Run) -> None:
    """Deletes the records of a run and of those before it, and never of one that came after."""
    ids = [f"{newest.subject}~{number}" for number in range(1, newest.number + 1)]
    await DBOS.delete_workflows_async(ids)


def _run_of(found: WorkflowStatus) -> Run:
    subject, _, number = found.workflow_id.rpartition("~")
    return Run(
        subject,
        int(number),
        found.status,
        found.app_version or "",
        found.executor_id or "",
        (found.completed_at or 0) / 1000,
    )
