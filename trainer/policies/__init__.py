"""Image policies: random changes of training images, one file each.

Each has `create(size)`, which returns a transform of torchvision: a uint8 image [3, size, size] to
one of the same shape. One with `WHOLE_FROM` gets whole pictures [3, H, W] from that size on. It
draws from torch's default generator, which is seeded for every image.

One with `MIXES` mixes the images of a batch, and has `create_blend(size)` (see `trainer.mixing`) in
place of it: it comes after another, see `trainer.image_policies`.
"""

from models.torchvision_cpu import declare_missing_operators

declare_missing_operators()  # before the first policy imports torchvision
