"""Trains and tests image classifiers on real and synthetic images, each run in a worker process."""
