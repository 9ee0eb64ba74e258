"""The diffusion engine: items in, pixels out. It knows nothing of gRPC, Triton or object stores."""
