"""A prompter server, and a language model for tests of the strategy alone."""

from dataclasses import dataclass, field

import pytest
from variegate.prompter.v1 import prompter_pb2 as pb
from variegate.prompter.v1 import prompter_pb2_grpc as rpc

from prompter.settings import PrompterSettings
from prompter.wiring import create_service
from prompter.wordnet import WordNet
from servicekit.channels import open_channel
from servicekit.server import running
from servicekit.storage import MemoryStore


@pytest.fixture(scope="session")
def wordnet():
    return WordNet()


@pytest.fixture
def open_stub():
    """Returns a context manager: a stub of a server with the given settings."""
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def opened(**settings):
        service = create_service(PrompterSettings(**settings), MemoryStore())
        descriptor = pb.DESCRIPTOR.services_by_name["PrompterService"]
        async with (
            running(service) as server,
            open_channel(server.target, descriptor) as channel,
        ):
            yield rpc.PrompterServiceStub(channel)

    return opened


@pytest.fixture
async def stub(open_stub):
    async with open_stub() as stub:
        yield stub


@dataclass
class ScriptedModel:
    """Answers with what `script` returns for a task, and remembers the tasks."""

    script: object
    id: str = "scripted@0"
    tasks: list = field(default_factory=list)

    def complete(self, tasks):
        self.tasks.extend(tasks)
        return [self.script(task) for task in tasks]


@pytest.fixture
def scripted():
    return ScriptedModel
