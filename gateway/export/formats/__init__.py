"""Export formats, one small file each: a module-level FORMAT with `id`, `file_of` and `write`."""
