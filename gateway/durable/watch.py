"""What happens to durable work, for whoever counts it."""


class Watch:
    """Is told of ends of work and of lost leases; this one does nothing about it."""

    def ended(self, outcome: str) -> None:
        """A run of work has ended here: DONE, CANCELLED, or the reason that it failed for."""

    def lost_lease(self) -> None:
        """This gateway has lost its lease, and with it all its work."""
