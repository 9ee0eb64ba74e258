"""A process that augments a folder in front of the doubles, to be killed at any moment.

Usage: python -m tests.gateway.killed STATE ROOT. Prints "started" once work runs, and the digest of
the manifest when it is done.
"""

import asyncio
import sys
from pathlib import Path

from tests.gateway.doubles import Trouble
from tests.gateway.system import open_system


async def main(state, root):
    trouble = Trouble(pause=0.05, unsafe_share=0.2)
    async with open_system(state, root, trouble=trouble) as system:
        await system.import_folder(root / "train", root / "test")
        operation = await system.start(
            method="mvc:0.5,simple:0.5",
            images_per_class=15,
            make_factor=2.0,
            keep="clip_score",
            deterministic=True,
            check_safety=True,
            seed=5,
        )
        print("started", flush=True)
        made = await system.finish(operation)
        print(made.result.digest, made.result.accepted_count, flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
