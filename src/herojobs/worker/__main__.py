"""Start of a worker process: `python -m herojobs.worker DATA_FD CONTROL_FD LIFE_FD`; only a WatchDog starts one."""

from __future__ import annotations

import sys

from herojobs.worker.process import main

if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
