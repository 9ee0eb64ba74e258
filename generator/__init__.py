"""Makes images with diffusion models, conditioned on text, embeddings and images."""
