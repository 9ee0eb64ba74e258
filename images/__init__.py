"""The container images: what their Dockerfiles are made from, and how they are built."""
