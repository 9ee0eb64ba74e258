"""Runs as Kubernetes Jobs: they go on without the trainer, and meet it in the object store."""
