"""Export formats, one small file each: a module-level FORMAT that gives layouts."""
