"""Submit a job.

The original's second example, in Python.
"""

from herojobs import HeroJobs


def main() -> str:
    with HeroJobs() as hero:
        job = hero.submit(
            """
            !!fake.return_success
                message: 'This is a test job'
            """,
            circle_id="myCircle",
            topic="myTopic",
            timeout=30,
        )
    reference = str(job.ref)  # remember it for later
    print(reference)
    return reference


if __name__ == "__main__":
    main()
