"""The engine inside NVIDIA's Triton Inference Server, and the backend that calls it there.

`models/` is a standard model repository: mount it into the official Triton image as it is.
"""
