"""Kinds of sources, one small file each: a module-level SOURCE with `id`, `fits` and `scan`."""
