"""Errors of services in the terms of the command line: its options, and what to do."""

import re

import grpc

from servicekit.errors import ServiceError

_REMEDIES = {
    "OUTSIDE_IMPORT_ROOTS": "Start the system with `variegate up --import-root FOLDER`.",
    "QUEUE_FULL": "The system is busy. Try again in a little while.",
    # Their messages say it.
    "STORE_UNREACHABLE": "",
    "TLS_FAILED": "",
}
_REMEDIES_BY_CODE = {
    grpc.StatusCode.UNAVAILABLE: "Check that the system is running: `variegate doctor`, or start "
    "one with `variegate up`.",
    grpc.StatusCode.INTERNAL: "Look into the log of the system, or run again with --debug.",
}


# Fields of requests, by the options that set them.
_OPTIONS = {
    "batch_size": "--batch-size",
    "gpus_per_node": "--gpus-per-node",
    "image_size": "--image-size",
    "learning_rate": "--learning-rate",
    "node_count": "--nodes",
    "pool_class_names": "--pool-names",
    "pool_uri": "--pool",
    "step_count": "--train-steps",
    "test_uri": "--test",
}
# Whole words that are no part of a path, a name in quotes or an option.
_FIELD = re.compile(rf"(?<![\w./:'\"-])({'|'.join(_OPTIONS)})(?![\w./:'\"])")


def with_options(message: str) -> str:
    """Returns a message with the options in place of the fields that they set."""
    return _FIELD.sub(lambda found: _OPTIONS[found[1]], message)


def remedy_of(error: ServiceError) -> str:
    """Returns what to do, where the error's own message does not say it; else ""."""
    return _REMEDIES.get(error.reason, _REMEDIES_BY_CODE.get(error.code, ""))
