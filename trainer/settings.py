"""Settings of the trainer."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir

from servicekit.devices import DEVICES, MEANING
from servicekit.settings import setting
from trainer.precision import PRECISIONS

_NANO = Path(__file__).resolve().parent.parent / "models" / "nano" / "diffusion"


@dataclass(frozen=True)
class TrainerSettings:
    """Each is TRAINER_... in the environment."""

    scratch: Path = setting(
        Path(gettempdir()) / "variegate-trainer",
        "Local folder for images and checkpoints; it may be lost at any time.",
    )
    models_folder: Path = setting(
        _NANO,
        "Holds a diffusers folder per model that can be tuned, as the generator's models folder.",
    )
    launcher: str = setting(
        "subprocess",
        "Where runs train: in processes of this machine, or as Kubernetes Jobs.",
        choices=("subprocess", "kubernetes"),
    )
    job_template: str = setting(
        "training", "The CronJob of the trainer's namespace that Jobs of runs are made of."
    )
    job_poll_seconds: float = setting(
        2.0, "How often a run that trains as a Job is looked at.", least=0.1
    )
    device: str = setting("auto", MEANING, limits=DEVICES)
    precision: str = setting(
        "auto",
        "What classifiers compute in; their weights are float32 and images channels-last always. "
        "auto takes bfloat16 on a GPU that has it, and float32 elsewhere.",
        choices=PRECISIONS,
    )
    max_runs: int = setting(
        1,
        "Most runs that train at once in processes; the others wait. It is no bound of Kubernetes "
        "Jobs: of those as many train as the namespace's quota and the nodes have room for.",
        least=1,
    )
    threads: int = setting(
        0, "Processor threads of a run; 0: as many as the cores it may use.", least=0
    )
    loaders: int = setting(
        0,
        "Processes of a run that decode and change its images; 0: as many as are worth it.",
        least=0,
    )
    checkpoint_seconds: float = setting(15.0, "How often a checkpoint is written.", least=0)
    cache_gigabytes: float = setting(
        20.0,
        "Most room for images. Those of runs that train or wait are kept; a run that needs "
        "more is refused, and one that needs more than is left waits.",
        least=0,
    )
    search_folds: int = setting(
        2, "Folds of a search for the policy fast_autoaugment; the paper has 5.", least=1
    )
    search_rounds: int = setting(1, "Rounds of trials a fold; the paper has 2.", least=1)
    search_trials: int = setting(20, "Trials a round; the paper has 200.", least=1)
    search_kept: int = setting(
        3, "Best trials of a round that are kept; the paper has 10.", least=1
    )
    search_steps: int = setting(
        200,
        "Steps of a fold's classifier, at most its own; 0: as many as its own, as the paper has.",
        least=0,
    )
    search_images: int = setting(
        500,
        "Most images that a policy is tried on; 0: two fifths of the real ones, as the paper has.",
        least=0,
    )
    idle_seconds: float = setting(
        300.0,
        "A worker process with nothing to do for so long ends, which frees its memory.",
        least=0,
    )

    @property
    def cache_bytes(self) -> int:
        """`cache_gigabytes` in bytes."""
        return int(self.cache_gigabytes * 1e9)

    @property
    def deciding(self) -> dict[str, object]:
        """The settings that results depend on, by name."""
        return {
            name: value
            for name, value in vars(self).items()
            if name == "precision" or name.startswith("search_")
        }

    @property
    def place(self) -> str:
        """Stands for where runs compute: what was measured elsewhere says nothing of it."""
        return f"{self.device} {self.threads}"
