"""Serves the prompter: python -m prompter."""

from prompter.settings import PrompterSettings
from prompter.wiring import create_service
from servicekit.server import run

if __name__ == "__main__":
    run(create_service, PrompterSettings, "prompter", uses_store=False)
