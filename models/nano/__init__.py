"""The nano family: small but real models with the production architectures."""
