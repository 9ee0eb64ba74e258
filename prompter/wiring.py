"""Puts the prompter together: settings in, service out."""

import asyncio

import grpc
from variegate.prompter.v1 import prompter_pb2, prompter_pb2_grpc

from prompter.llms import find_language_model
from prompter.service import PrompterService
from prompter.settings import PrompterSettings
from prompter.wordnet import WordNet
from prompter.writer import PromptWriter
from servicekit.server import Service
from servicekit.storage import ObjectStore


def create_service(settings: PrompterSettings, store: ObjectStore) -> Service:
    """Returns the service. It reads and writes no object; WordNet is loaded by `load`."""
    wordnet = WordNet()
    source = find_language_model(settings.llm, settings.llm_threads, settings.llm_timeout_seconds)
    writer = PromptWriter(wordnet, source)

    def register(server: grpc.aio.Server) -> None:
        prompter_pb2_grpc.add_PrompterServiceServicer_to_server(PrompterService(writer), server)

    async def load() -> None:
        await asyncio.to_thread(wordnet.senses, "dog")

    name = prompter_pb2.DESCRIPTOR.services_by_name["PrompterService"].full_name
    return Service("prompter", (name,), register, load, writer.close)
