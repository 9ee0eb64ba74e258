"""Mixing of embeddings: MVC's Algorithm 1 on texts, AUGCOND's operations on images."""
