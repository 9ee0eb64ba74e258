"""One of several processes that share durable work, to be killed at any moment.

Usage: python -m tests.gateway.member DATABASE_URL FOLDER SUBJECT... It asks for every subject, and
works on those that it is given. Of each step a line is added to FOLDER/SUBJECT.steps, and what came
of the work is FOLDER/SUBJECT.done. Two at once on one subject are noted in FOLDER/SUBJECT.twice.
"""

import asyncio
import fcntl
import os
import sys
from pathlib import Path

from gateway.durable.durable import Durable
from gateway.durable.steps import step

STEPS, LEASE_SECONDS = 6, 2.0


async def main(database_url, folder, subjects):
    def note(name, text):
        with (folder / name).open("a") as file:
            file.write(f"{text}\n")

    async def work(subject):
        if (folder / f"{subject}.done").exists():
            return
        with (folder / f"{subject}.lock").open("a") as lock:
            try:  # The lock of a process that was killed is free.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                note(f"{subject}.twice", os.getpid())
            total = 0
            for number in range(STEPS):
                total += await step("square", lambda number=number: square(subject, number))
            note(f"{subject}.done", total)

    async def square(subject, number):
        await asyncio.sleep(0.3)
        note(f"{subject}.steps", number)
        return number**2

    durable = Durable(database_url, f"member-{os.getpid()}", work, lease_seconds=LEASE_SECONDS)
    await durable.launch()
    for subject in subjects:
        await durable.start(subject)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
