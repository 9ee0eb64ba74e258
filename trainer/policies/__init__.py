"""Image policies: random changes of training images. One file each."""
