"""The work of an augmentation, from its recipe to its manifests."""
