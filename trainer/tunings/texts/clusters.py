"""A text conditioning for each cluster of a class's images, by their image embeddings.

BURG, section 3.2, which takes Inception-v3 where this takes the image encoder of a model.
"""

from pathlib import Path

import numpy as np
import torch

from diffusion.card import read_card
from diffusion.encoders import as_array, load_encoders
from trainer.tunings.base import Setting
from trainer.tunings.kmeans import kmeans, nearest
from trainer.tunings.texts.matrix import LearnedMatrices


@torch.no_grad()
def create(setting: Setting) -> LearnedMatrices:
    """The clusters are those of the training images; one that is held out is of the nearest."""
    spec, images = setting.spec, setting.images
    encoders = load_encoders(read_card(Path(spec.feature_folder)), setting.placement)
    features = np.stack(
        [as_array(encoders.images([images.picture(row)])[0]) for row in range(len(images))]
    ).astype(np.float64)
    train = features[: images.train_count]
    count = min(spec.cluster_count, len(np.unique(train, axis=0)))
    centres = kmeans(train, count, spec.seed)
    notes = []
    if count < spec.cluster_count:
        notes.append(
            f"{count} clusters instead of {spec.cluster_count}: there are no more different images"
        )
    return LearnedMatrices(setting, nearest(features, centres).tolist(), notes)
