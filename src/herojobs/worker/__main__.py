"""Start of a worker process: `python -m herojobs.worker DATA_FD CONTROL_FD`; only a WatchDog starts one."""

from __future__ import annotations

import sys

from herojobs.worker.process import main

if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
