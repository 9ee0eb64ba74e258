"""The recipe that trains the nano family from photographs: `python -m models.nano.recipe`."""

from models.torchvision_cpu import declare_missing_operators

declare_missing_operators()  # before any submodule imports transformers, diffusers or open_clip
