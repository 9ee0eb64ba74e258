"""A vLLM server on this machine, for tests, benchmarks and the embedded system."""
