"""TLS of servers and channels: files that may change meanwhile, and what is wrong with them."""
