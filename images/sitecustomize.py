"""Python runs this first. It lets SIGTERM end a service that is still being imported.

In a container the service is process 1, to which the kernel gives no signal that it has no handler
for: an early SIGTERM would be lost, and the container killed when its time is over. Once the
service can drain, its own handler takes the place of this one.
"""

import os
import signal

if os.getpid() == 1:
    # Nothing is under way that would have to be finished. 128 + the signal, as shells say it.
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(128 + number))
