"""First real and synthetic images together, then real images alone at a lower learning rate."""

from trainer.strategies.base import Draw, Sources, Strategy, shuffled

SOURCE = "MVC section 4 (two-phase)"
NEEDS_SYNTHETIC = True
HAS_OWN_PACE = True

_FIRST_PHASE = 0.8  # share of the steps; ours, the paper says only "fewer" for the second
_SECOND_PEAK = 0.2  # share of the first phase's peak learning rate; ours


class TwoPhase(Strategy):
    """Each phase is a full cycle, so both end at a learning rate near 0."""

    def __init__(self, sources: Sources) -> None:
        super().__init__(sources)
        self.first_step_count = max(1, round(_FIRST_PHASE * sources.step_count))

    def draw(self, step: int) -> Draw:
        sources = self.sources
        late = step - self.first_step_count
        if late < 0:
            return shuffled(sources.count, *sources.places(step), sources.seed)
        again = shuffled(sources.real_count, *sources.places(late), sources.seed)
        first_passes = self.first_step_count * sources.batch_size // sources.count + 1
        return Draw(again.rows, again.passes + first_passes)

    def learning_rate_factor(self, step: int) -> float:
        schedule, late = self.sources.schedule, step - self.first_step_count
        if late < 0:
            return schedule.factor(step, self.first_step_count)
        second_step_count = self.sources.step_count - self.first_step_count
        return _SECOND_PEAK * schedule.factor(late, second_step_count)


def create(sources: Sources) -> Strategy:
    """The strategy for these sources."""
    return TwoPhase(sources)
