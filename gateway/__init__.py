"""The gateway: datasets, augmentations and studies; planning, mixing, lineage and durability."""

import os

# Read by Arrow when it is loaded. Its own allocator keeps what each of many threads has used once,
# hundreds of megabytes.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
