"""Serves the captioner: python -m captioner."""

from captioner.settings import CaptionerSettings
from captioner.wiring import create_service
from servicekit.server import run

if __name__ == "__main__":
    run(create_service, CaptionerSettings, "captioner")
