"""The prompt strategies: a module of this folder has one as STRATEGY, or a tuple of several."""
