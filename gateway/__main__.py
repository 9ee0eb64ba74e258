"""Runs the gateway as a process: `python -m gateway`."""

from gateway.settings import GatewaySettings
from gateway.wiring import create_service
from servicekit.server import run

if __name__ == "__main__":
    run(create_service, GatewaySettings, "gateway")
