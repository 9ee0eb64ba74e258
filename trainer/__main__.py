"""Starts the trainer's server: python -m trainer."""

from servicekit.server import run
from trainer.settings import TrainerSettings
from trainer.wiring import create_service

if __name__ == "__main__":
    run(create_service, TrainerSettings, "trainer")
