"""Classifier architectures. One file each."""
