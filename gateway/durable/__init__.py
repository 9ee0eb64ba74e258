"""Durable work: what the plan says, step by step, resumable at any moment."""
