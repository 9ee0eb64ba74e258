"""Asking a language model until its replies can be used, or saying that they cannot."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from prompter.llm import LanguageModel, Reply, Task

# A reply that cannot be used is asked for again this often, with the error in the prompt.
RETRIES = 2
_OTHER_SEED = 0x9E3779B97F4A7C15  # so that a small model does not repeat itself

Check = Callable[[int, Reply], Reply]


async def ask(
    llm: LanguageModel, tasks: Sequence[Task], check: Check, deadline: float | None
) -> list[Reply]:
    """Returns one reply per task; those with a problem could not be corrected.

    `check` gets the number of a task and a reply without a problem, in order of the numbers, and
    returns it cleaned up or with its problem. Refused replies are asked for again together, which
    is much faster than one by one.
    """
    final: dict[int, Reply] = {}
    pending = dict(enumerate(tasks))
    for attempt in range(1, RETRIES + 2):
        replies = await llm.complete(list(pending.values()), deadline)
        for number, reply in zip(pending, replies, strict=True):
            final[number] = reply if reply.problem else check(number, reply)
        pending = {
            number: replace(
                tasks[number],
                seed=(tasks[number].seed + attempt * _OTHER_SEED) % 2**64,
                refused=final[number].raw,
                problem=final[number].problem,
            )
            for number in pending
            if final[number].problem
        }
        if not pending:
            break
    return [final[number] for number in range(len(tasks))]
