import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicekit import errors, statuses
from servicekit.escaping import escaped
from servicekit.texts import encoded_length, shortened

ALL = [
    errors.InvalidArgument("bad", field="items[0].seed", reason="FIELD_OUT_OF_RANGE"),
    errors.NotFound("gone", resource="store:a/b"),
    errors.AlreadyExists("there", resource="datasets/d"),
    errors.Precondition("not now", subject="bucket", reason="BUCKET_MISSING"),
    errors.Exhausted("full", retry_after=2.5),
    errors.Unavailable("down", reason="MODEL_LOADING", retry_after=0.5),
    errors.DeadlineExceeded("late"),
    errors.Cancelled("stopped"),
    errors.Unauthenticated("who are you"),
    errors.PermissionDenied("not yours", metadata={"resource": "datasets/d"}),
    errors.Internal("oops"),
]


@pytest.mark.parametrize("error", ALL, ids=lambda e: type(e).__name__)
def test_an_error_survives_the_way_through_a_status(error):
    again = statuses.from_status(statuses.to_status(error, "generator"))
    assert type(again) is type(error)
    assert (again.message, again.reason, again.code) == (error.message, error.reason, error.code)
    assert vars(again) == vars(error)


def test_a_foreign_exception_becomes_internal_and_gives_nothing_away():
    status = statuses.to_status(RuntimeError("password=hunter2"), "generator")
    assert status.code == grpc.StatusCode.INTERNAL.value[0]
    assert "hunter2" not in str(status)


@given(st.text(max_size=5000) | st.text("é€🐶%", max_size=5000), st.text(max_size=3000))
def test_a_status_fits_into_the_headers_of_a_call_whatever_it_quotes(message, value):
    error = errors.InvalidArgument(message, field=value, metadata={"a": value, "b": value})
    status = statuses.to_status(error, "gateway")
    assert status.ByteSize() <= 4096
    assert encoded_length(status.message) + status.ByteSize() * 4 / 3 < 8000
    assert vars(statuses.from_status(status)) == vars(error)


def test_a_long_text_keeps_both_ends_and_says_how_long_it_was():
    name = "n" * 2700
    error = errors.NotFound(f"there is no {name}; check the name", resource=name)
    assert error.message.startswith("there is no nnn")
    assert error.message.endswith("nnn; check the name")
    assert "[cut, 2,728 characters in all]" in error.message
    assert "[cut, 2,700 characters in all]" in error.resource


def test_a_name_that_utf_8_cannot_say_is_escaped():
    status = statuses.to_status(errors.Internal("no \udcff.png"), "gateway")
    assert status.message == r"no \xff.png"


@given(st.text(max_size=400), st.integers(100, 300))
def test_a_text_is_cut_only_if_it_is_too_long(text, limit):
    cut, shown = shortened(text, limit), escaped(text, lines=True)
    assert cut == shown if encoded_length(shown) <= limit else encoded_length(cut) <= limit
