"""What a worker does alike for every kind of job, with a job that fits a line."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch

from trainer import recipes
from trainer.runs import JobSpec
from trainer.training import LossNotFiniteError, read_spec, train


@dataclass(frozen=True)
class Line:
    slope: float
    losses: tuple[float, ...]


class FitLine:
    metrics = ("loss", "slope")

    def __init__(self, spec, share, device, infinite_at=None, done_at=None):
        self.spec, self.infinite_at, self.done_at = spec, infinite_at, done_at
        self.updates = []
        self.model = torch.nn.Linear(1, 1)
        self.optimizer = torch.optim.SGD(self.model.parameters(), spec.learning_rate, momentum=0.9)

    def batches(self, first_step):
        for step in range(first_step, self.spec.step_count):
            yield torch.rand(8, 1, generator=torch.Generator().manual_seed(step))

    def update(self, step, batch):
        self.updates.append(step)
        loss = (self.model(batch) - 2 * batch).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        if step == self.infinite_at:
            loss = loss / 0
        return torch.stack([loss.detach(), self.model.weight.detach().squeeze()])

    def is_done(self, step):
        return step == self.done_at

    def finish(self, losses, seconds):
        assert seconds > 0
        return Line(self.model.weight.item(), losses)


@pytest.fixture
def jobs(monkeypatch):
    """The jobs that were made, as if there were a file `line` among the kinds."""
    made, values = [], {}

    def create(*arguments):
        made.append(FitLine(*arguments, **values))
        return made[-1]

    kinds, load = {"line": SimpleNamespace(Spec=JobSpec, create=create)}, recipes.load
    monkeypatch.setattr(recipes, "load", lambda kind, name: kinds.get(name) or load(kind, name))
    yield SimpleNamespace(made=made, values=values)
    torch.use_deterministic_algorithms(False)


def spec_of(folder, **values):
    plain = {"job": "line", "data_digest": "", "step_count": 120, "batch_size": 8, "seed": 3}
    plain |= {"learning_rate": 0.1, "threads": 1, "checkpoint_seconds": 1e9, "device": "cpu"}
    return JobSpec(folder=str(folder), **plain | values)


def ignore(event):
    pass


class Interrupted(Exception):
    pass


def test_a_job_reports_its_metrics_by_name_and_gives_its_result(jobs, tmp_path):
    events = []
    result = train(spec_of(tmp_path), events.append)
    assert [event["step"] for event in events] == list(range(2, 121, 2))
    assert {*events[-1]["values"]} == {"loss", "slope", "learning_rate"}
    assert events[-1]["values"]["learning_rate"] == 0.1
    assert result.slope == pytest.approx(2, abs=0.2) and len(result.losses) == 50
    assert result.losses[-1] == pytest.approx(0, abs=0.01)


def test_an_interrupted_job_ends_as_an_undisturbed_one_and_repeats_no_step(jobs, tmp_path):
    undisturbed = train(spec_of(tmp_path), ignore)

    def stop(event):
        if event["event"] == "checkpoint" and event["step"] == 31:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(spec_of(tmp_path, checkpoint_seconds=0.0), stop)
    events = []
    assert train(spec_of(tmp_path), events.append) == undisturbed
    assert jobs.made[-1].updates == list(range(31, 120))
    assert [event["step"] for event in events] == list(range(2, 121, 2)), "old ones are told again"


def test_a_loss_that_is_not_finite_ends_the_job_and_names_its_step(jobs, tmp_path):
    jobs.values["infinite_at"] = 1234
    with pytest.raises(LossNotFiniteError) as ended:
        train(spec_of(tmp_path, step_count=100_000), ignore)
    assert ended.value.step == 1235 and len(jobs.made[-1].updates) < 1300


def test_a_job_that_has_nothing_left_to_learn_ends_before_its_last_step(jobs, tmp_path):
    jobs.values["done_at"], events = 31, []
    result = train(spec_of(tmp_path), events.append)
    assert jobs.made[-1].updates == list(range(31)) and len(result.losses) == 31
    assert events[-1]["step"] == 31, "the last step is told"


def test_a_spec_is_read_as_that_of_its_kind(jobs, tmp_path, spec):
    for written in (spec_of(tmp_path), spec):
        written.write(tmp_path / "spec.json")
        assert read_spec(tmp_path / "spec.json") == written


def test_every_kind_of_job_has_a_spec_and_makes_jobs():
    assert list(recipes.recipes("jobs")) == ["classify", "search", "tune"]
    for name in recipes.recipes("jobs"):
        kind = recipes.load("jobs", name)
        assert issubclass(kind.Spec, JobSpec) and callable(kind.create)
