"""What was seen, with times."""

import time


class Seen:
    """A table that grows: said at once, and as a whole at the end."""

    def __init__(self) -> None:
        self.started = self.last = time.monotonic()
        self.rows: list[str] = []

    def __call__(self, what: str) -> None:
        """Adds a row: seconds since the start and since the last row, and what was seen."""
        now = time.monotonic()
        self.rows.append(f"{now - self.started:8.1f} {now - self.last:8.1f}  {what}")
        self.last = now
        print(self.rows[-1], flush=True)

    def __str__(self) -> str:
        return "\n".join([f"{'at, s':>8} {'took, s':>8}  seen", *self.rows])
