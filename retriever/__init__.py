"""Embeds texts and images with CLIP, searches image pools, and screens images."""
