"""Errors of other services, as the gateway's callers see them."""

import pytest

from gateway.clients.faults import as_ours, is_lasting, is_passing
from servicekit.errors import (
    DeadlineExceeded,
    Exhausted,
    Internal,
    InvalidArgument,
    NotFound,
    Unavailable,
)


@pytest.mark.parametrize(
    ("service", "field", "name"),
    [
        ("retriever", "pool_uri", "pool_uri"),
        ("trainer", "training_run.batch_size", "training.batch_size"),
        ("trainer", "training_run.strategy", "training.strategy"),
        ("generator", "sampling.steps", "steps"),
        ("generator", "items[3].guidance_scale", "guidance_scale"),
        ("prompter", "class_name", "class_name"),
    ],
)
def test_what_people_gave_is_their_field_by_their_name(service, field, name):
    error = InvalidArgument("it is wrong", field=field, reason="WRONG", metadata={"a": "b"})
    ours = as_ours(error, service)
    assert isinstance(ours, InvalidArgument)
    assert (ours.field, ours.reason, ours.message) == (name, "WRONG", "it is wrong")
    assert ours.metadata["a"] == "b"


@pytest.mark.parametrize(
    ("service", "field"),
    [
        ("retriever", "candidates[0].image_uri"),
        ("retriever", "protected_manifest_uri"),
        ("generator", "items[3].text.embedding"),
        ("generator", "items"),
        ("captioner", "image_uri"),
        ("trainer", "training_run.manifest_uri"),
        ("prompter", "prompt_count"),
        ("retriever", "deadline"),
        ("retriever", ""),
    ],
)
def test_what_the_gateway_chose_is_its_own_fault(service, field):
    ours = as_ours(InvalidArgument("it is wrong", field=field, reason="WRONG"), service)
    assert isinstance(ours, Internal) and ours.reason == "CALL_REFUSED"
    assert service in ours.message and "it is wrong" in ours.message
    assert ours.metadata == {"service": service, "field": field, "reason": "WRONG"}


def test_other_errors_stay_as_they_are():
    for error in (NotFound("gone", resource="a"), Unavailable("away"), Internal("ours")):
        assert as_ours(error, "retriever") is error


def test_what_a_person_must_mend_is_not_waited_for():
    assert is_passing(Unavailable("away")) and is_passing(DeadlineExceeded("late"))
    assert is_passing(Exhausted("full", reason="QUEUE_FULL"))
    full = Exhausted("full", reason="STORE_FULL")
    assert is_lasting(full) and not is_passing(full)
