"""Describes images in words, with BLIP-2."""
