"""Runs the generator: python -m generator."""

from generator.settings import GeneratorSettings
from generator.wiring import create_service
from servicekit.server import run

if __name__ == "__main__":
    run(create_service, GeneratorSettings, "generator")
