import grpc
import pytest

from servicekit import errors

ALL = [
    errors.InvalidArgument("bad", field="items[0].seed", reason="FIELD_OUT_OF_RANGE"),
    errors.NotFound("gone", resource="store:a/b"),
    errors.AlreadyExists("there", resource="datasets/d"),
    errors.Precondition("not now", subject="bucket", reason="BUCKET_MISSING"),
    errors.Exhausted("full", retry_after=2.5),
    errors.Unavailable("down", reason="MODEL_LOADING", retry_after=0.5),
    errors.DeadlineExceeded("late"),
    errors.Cancelled("stopped"),
    errors.Internal("oops"),
]


@pytest.mark.parametrize("error", ALL, ids=lambda e: type(e).__name__)
def test_an_error_survives_the_way_through_a_status(error):
    again = errors.from_status(errors.to_status(error, "generator"))
    assert type(again) is type(error)
    assert (again.message, again.reason, again.code) == (error.message, error.reason, error.code)
    assert vars(again) == vars(error)


def test_a_foreign_exception_becomes_internal_and_gives_nothing_away():
    status = errors.to_status(RuntimeError("password=hunter2"), "generator")
    assert status.code == grpc.StatusCode.INTERNAL.value[0]
    assert "hunter2" not in str(status)
