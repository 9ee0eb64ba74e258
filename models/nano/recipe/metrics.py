"""Measures of generated images in the judge's feature space, and of copying in pixels."""

import torch
from torch import Tensor, nn


def frechet(first: Tensor, second: Tensor) -> float:
    """Frechet distance between two sets of features [n, d] and [k, d] (Heusel et al. 2017).

    The trace of the root of the product of covariances comes from its eigenvalues.
    """
    first, second = first.double(), second.double()
    means = (first.mean(0) - second.mean(0)).square().sum()
    a, b = torch.cov(first.T), torch.cov(second.T)
    roots = torch.linalg.eigvals(a @ b).real.clamp_min(0).sqrt().sum()
    return float(means + a.trace() + b.trace() - 2 * roots)


def recall(real: Tensor, made: Tensor, *, neighbours: int = 3) -> float:
    """Share of real features that lie in the manifold of made ones (Kynkaanniemi et al. 2019)."""
    radii = torch.cdist(made, made).kthvalue(neighbours + 1, dim=1).values
    return float((torch.cdist(real, made) <= radii[None]).any(1).float().mean())


def spread(features: Tensor, labels: Tensor) -> float:
    """Mean distance between features of one class [n, d], averaged over the classes."""
    means = []
    for label in labels.unique():
        group = features[labels == label]
        means.append(torch.pdist(group).mean())
    return float(torch.stack(means).mean())


def nearest(images: Tensor, others: Tensor) -> Tensor:
    """Each image's distance to the closest of the others or their mirrors: [n] in grey levels.

    Root mean square over 16 x 16 averages, so that noise does not hide a copy.
    """
    mine = _small(images)
    best = torch.full((len(mine),), torch.inf)
    for chunk in others.split(5000):
        for candidates in (chunk, chunk.flip(3)):
            best = torch.minimum(best, torch.cdist(mine, _small(candidates)).min(1).values)
    return best / mine.shape[1] ** 0.5


def _small(images: Tensor) -> Tensor:
    return nn.functional.avg_pool2d(images.float(), 2).flatten(1)
