"""Real and synthetic images shuffled together, each equally often."""

from trainer.strategies.base import Draw, Sources, Strategy, shuffled

SOURCE = "BURG section 4; MVC section 4 (combined)"
NEEDS_SYNTHETIC = True


class Combined(Strategy):
    """Shuffled passes over all images: the share of real images is their share of the set."""

    def draw(self, step: int) -> Draw:
        sources = self.sources
        return shuffled(sources.count, *sources.places(step), sources.seed)


def create(sources: Sources) -> Strategy:
    """The strategy for these sources."""
    return Combined(sources)
