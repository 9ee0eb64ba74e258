"""Turns class names into prompts, and says what class names mean."""
