"""The error of an artefact that cannot be used."""

from diffusion.errors import DiffusionError


class BadArtefact(DiffusionError):
    """An artefact is damaged, dangerous, or not of the model.

    `field` is the field of the artefact that is to blame, "uri", "sha256" or "kind", and `reason`
    says why in a word for programs.
    """

    def __init__(self, field: str, reason: str, message: str) -> None:
        super().__init__(message)
        self.field, self.reason = field, reason


def mismatch(message: str) -> BadArtefact:
    """Returns the error of an artefact that does not fit its model."""
    return BadArtefact("uri", "ARTEFACT_MISMATCH", message)
