"""Look at a job: `python examples/check_status.py mycircle/mytopic/1`.

The original's third example, in Python.
"""

import sys

from herojobs import HeroJobs, JobStatus


def main(reference: str) -> None:
    with HeroJobs() as hero:
        job = hero.get(reference)
    match job.status:
        case JobStatus.NEW:
            print("Job is waiting to be processed")
        case JobStatus.ACTIVE:
            print("Job is currently being processed")
        case JobStatus.DONE:
            print(f"Job completed successfully: {job.result}")
        case JobStatus.ERROR:
            print(f"Job failed: {job.error}")


if __name__ == "__main__":
    main(sys.argv[1])
