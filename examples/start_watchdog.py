"""Start a WatchDog, and stop it.

The original's first example, in Python.
"""

from herojobs import WatchDog


def main() -> None:
    watchdog = WatchDog(workers=2)  # the embedded Redis, unless HEROJOBS_REDIS_URL names another
    watchdog.start()
    print(f"{watchdog.name} runs")
    watchdog.stop()
    print("stopped")


if __name__ == "__main__":
    main()
