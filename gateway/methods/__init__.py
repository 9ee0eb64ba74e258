"""Augmentation methods, one small file each: a module-level METHOD of the shape base.Method."""
