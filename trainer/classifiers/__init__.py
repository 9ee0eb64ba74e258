"""Classifiers: a table of them, and what makes networks of its rows."""
