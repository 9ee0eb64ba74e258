"""Every text, bytes and list that a caller may send has a limit, written in the protos."""

import importlib
import re

import pytest
from buf.validate import validate_pb2
from google.api import field_behavior_pb2

SERVICES = ["captioner", "prompter", "generator", "retriever", "trainer", "gateway"]
UNBOUNDED = re.compile(r"[*+]|\{\d+,\}")


def requests():
    for name in SERVICES:
        module = importlib.import_module(f"variegate.{name}.v1.{name}_pb2")
        for service in module.DESCRIPTOR.services_by_name.values():
            yield from (method.input_type for method in service.methods)


def messages():
    """All messages that a request holds, at any depth."""
    found, left = {}, list(requests())
    while left:
        message = left.pop()
        if message.full_name not in found and message.full_name.startswith("variegate."):
            found[message.full_name] = message
            sent = filter(is_sent, message.fields)
            left.extend(field.message_type for field in sent if field.message_type)
    return [m for m in found.values() if not m.GetOptions().map_entry]


def is_sent(field):
    """Says whether callers may set the field."""
    behaviors = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return field_behavior_pb2.OUTPUT_ONLY not in behaviors


def is_limited(field, rules):
    """Says whether one value of the field is limited."""
    if field.type == field.TYPE_STRING:
        bounded = rules.string.HasField("pattern") and not UNBOUNDED.search(rules.string.pattern)
        return bounded or rules.string.HasField("max_len") or bool(getattr(rules.string, "in"))
    return field.type != field.TYPE_BYTES or rules.bytes.HasField("max_len")


def faults(field):
    rules = field.GetOptions().Extensions[validate_pb2.field]
    if field.message_type and field.message_type.GetOptions().map_entry:
        pairs = rules.map
        if not pairs.HasField("max_pairs"):
            yield "pairs"
        parts = {"key": pairs.keys, "value": pairs.values}
        for part, own in parts.items():
            if not is_limited(field.message_type.fields_by_name[part], own):
                yield part
    elif field.is_repeated:
        if not rules.repeated.HasField("max_items"):
            yield "items"
        if not is_limited(field, rules.repeated.items):
            yield "each item"
    elif not is_limited(field, rules):
        yield "length"


@pytest.mark.parametrize("message", messages(), ids=lambda m: m.full_name)
def test_whatever_a_caller_may_send_has_a_limit(message):
    fields = [field for field in message.fields if is_sent(field)]
    assert {field.name: found for field in fields if (found := list(faults(field)))} == {}


def test_the_walk_sees_what_it_should():
    names = {message.full_name for message in messages()}
    assert {"variegate.gateway.v1.Augmentation", "variegate.generator.v1.Tensor"} <= names
