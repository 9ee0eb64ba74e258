"""Search for an image policy by density matching (Lim et al., Fast AutoAugment).

Classifiers are trained on one part of the real training images, and policies are tried on the
other: a good one changes images so that a classifier that never saw them still tells them rightly.
"""
