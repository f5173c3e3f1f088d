"""Start of a worker process, with the numbers of four descriptors as arguments; only a WatchDog starts one."""

from __future__ import annotations

import sys

from herojobs.worker.guard import split_off

if __name__ == "__main__":
    descriptors = [int(argument) for argument in sys.argv[1:]]
    split_off(*descriptors)
    from herojobs.worker.process import main  # after the fork: the guard needs none of what it imports

    main(*descriptors[:3])
