"""What the linter cannot know about the protos."""

import importlib

import pytest
from google.protobuf.descriptor_pb2 import MethodOptions

SERVICES = ["captioner", "prompter", "generator", "retriever", "trainer", "gateway"]


def methods():
    for name in SERVICES:
        module = importlib.import_module(f"variegate.{name}.v1.{name}_pb2")
        for service in module.DESCRIPTOR.services_by_name.values():
            yield from service.methods


@pytest.mark.parametrize("method", list(methods()), ids=lambda m: m.full_name)
def test_every_method_says_whether_it_may_be_repeated(method):
    level = method.GetOptions().idempotency_level
    assert level in (MethodOptions.NO_SIDE_EFFECTS, MethodOptions.IDEMPOTENT)


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_one_proto_and_one_grpc_service(name):
    module = importlib.import_module(f"variegate.{name}.v1.{name}_pb2")
    assert list(module.DESCRIPTOR.services_by_name) == [f"{name.capitalize()}Service"]
