"""What callers see: the service, its resources and messages, and checks before work starts."""
