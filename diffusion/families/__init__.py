"""The families of diffusion models that are served, a file each."""
