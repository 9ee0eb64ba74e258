"""Artefacts: what training makes and generation uses, a file of tensors with its facts each."""
