"""Logs of a service process."""

import json
import logging

import pytest

from gateway.settings import GatewaySettings
from servicekit.telemetry import JsonFormatter


def line(message, **extra):
    record = logging.LogRecord("name", logging.INFO, __file__, 1, message, (), None)
    vars(record).update(extra)
    return JsonFormatter().format(record)


def test_the_settings_are_logged_without_the_databases_password():
    settings = GatewaySettings(database_url="postgresql+psycopg://variegate:s3cr-t%40@db:5432/x")
    text = line("settings", fields={"gateway": settings})
    assert "s3cr-t" not in text
    assert "postgresql+psycopg://variegate:***@db:5432/x" in json.loads(text)["gateway"]


@pytest.mark.parametrize(
    "text", ["http://127.0.0.1:8000/v1", "s3://bucket?endpoint=HOST:9000", "mail a@b: c://d e:f@g"]
)
def test_what_holds_no_password_is_logged_as_it_is(text):
    assert json.loads(line(text))["message"] == text
