"""The gateway: datasets, augmentations and studies; planning, mixing, lineage and durability."""
