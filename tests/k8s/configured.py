"""The settings that the manifests give to each process of ours."""

import importlib

from servicekit.server_settings import ServerSettings
from servicekit.settings import create, read
from tests.k8s.rendered import containers, environment, lasts, render, services


def settings_class(service):
    module = importlib.import_module(f"{service}.settings")
    return getattr(module, f"{service.capitalize()}Settings")


def server_settings(environ):
    return create(ServerSettings, read(ServerSettings, environ, "SERVER"), "SERVER")


def processes(name):
    """Yields service, workload, container and environment of every process that is ours."""
    manifests = render(name)
    for service, workload in services(manifests).items():
        for one in filter(lasts, containers(workload)):
            if one["image"].startswith("variegate/"):
                yield service, workload, one, environment(manifests, one)
