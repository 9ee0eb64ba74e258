"""Real images only; synthetic images are not touched."""

from trainer.strategies.base import Draw, Sources, Strategy, shuffled

SOURCE = ""
NEEDS_SYNTHETIC = False


class Real(Strategy):
    """Shuffled passes over the real images."""

    def draw(self, step: int) -> Draw:
        sources = self.sources
        return shuffled(sources.real_count, *sources.places(step), sources.seed)


def create(sources: Sources) -> Strategy:
    """The strategy for these sources."""
    return Real(sources)
