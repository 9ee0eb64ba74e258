"""The schedules of diffusion models: diffusers' schedulers, and their steps as coefficients."""
