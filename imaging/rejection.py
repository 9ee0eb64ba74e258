"""Why an image is refused."""


class ImageRejected(ValueError):
    """An image that cannot be used. `reason` is machine-readable, the text is for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
