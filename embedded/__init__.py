"""The embedded default: all six services in one process, on loopback."""
