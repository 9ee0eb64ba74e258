"""Serves the retriever: python -m retriever."""

from retriever.settings import RetrieverSettings
from retriever.wiring import create_service
from servicekit.server import run

if __name__ == "__main__":
    run(create_service, RetrieverSettings, "retriever")
