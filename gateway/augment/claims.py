"""Which class an image of a pool goes to that was found for several."""

from collections.abc import Mapping, Sequence

from gateway.clients.retriever import Hit

Claim = tuple[str, Hit]  # The class that an image was found for, and the image.
Claims = dict[str, list[Hit]]


def share_out(hits: Mapping[str, Sequence[Hit]], labels: Mapping[str, int]) -> Claims:
    """Gives every image to the class it is most similar to, so that no image is used twice.

    Of equally similar classes the one with the lower label gets it. Orders are kept.
    """
    owner: dict[str, tuple[float, int, str]] = {}
    for name, found in hits.items():
        for hit in found:
            bid = (-hit.similarity, labels[name], name)
            owner[hit.sha256] = min(owner.get(hit.sha256, bid), bid)
    claims: Claims = {}
    for name, found in hits.items():
        taken: dict[str, Hit] = {}
        for hit in found:
            if owner[hit.sha256][2] == name:
                taken.setdefault(hit.sha256, hit)
        claims[name] = list(taken.values())
    return claims
