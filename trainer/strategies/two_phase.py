"""First real and synthetic images together, then real images alone at a lower learning rate."""

from trainer.strategies.base import Rows, Sources, Strategy, one_cycle, shuffled

SOURCE = "MVC section 4 (two-phase)"
NEEDS_SYNTHETIC = True

_FIRST_PHASE = 0.8  # share of the steps; ours, the paper says only "fewer" for the second
_SECOND_PEAK = 0.2  # share of the first phase's peak learning rate; ours


class TwoPhase(Strategy):
    """Each phase is a full cycle, so both end at a learning rate near 0."""

    def __init__(self, sources: Sources) -> None:
        super().__init__(sources)
        self.first_step_count = max(1, round(_FIRST_PHASE * sources.step_count))

    def rows(self, step: int) -> Rows:
        sources = self.sources
        late = step - self.first_step_count
        if late < 0:
            return shuffled(sources.count, step, sources.batch_size, sources.seed)
        return shuffled(sources.real_count, late, sources.batch_size, sources.seed)

    def learning_rate_factor(self, step: int) -> float:
        late = step - self.first_step_count
        if late < 0:
            return one_cycle(step, self.first_step_count)
        return _SECOND_PEAK * one_cycle(late, self.sources.step_count - self.first_step_count)


def create(sources: Sources) -> Strategy:
    """The strategy for these sources."""
    return TwoPhase(sources)
