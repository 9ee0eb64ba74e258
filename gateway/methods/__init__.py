"""Augmentation methods, a file each, or a row of a table in one.

A file's METHOD is of the shape base.Method, or a tuple of several.
"""
