"""The commands, one file each; heavy imports are inside the functions."""
