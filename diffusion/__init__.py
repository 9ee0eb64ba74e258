"""Diffusion models from diffusers' folders: what is known of them, and their parts on a device."""
