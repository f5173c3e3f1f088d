"""Jobs that call the service of pets.py: by name, in a batch, with a fault. `python call_pets.py URL`."""

from __future__ import annotations

import json
import sys

from herojobs import HeroJobs, WatchDog


def main(url: str) -> None:
    services = {"pets": {"url": url}}
    requests = [
        {"method": "pets:pets.add", "params": {"name": "Spike", "kind": "dog"}},
        [{"method": "pets:pets.list"}, {"method": "pets:pets.list"}],
        {"method": "pets:pets.add", "params": {"name": "Nibbles", "kind": "mouse"}},
    ]
    with HeroJobs(services=services) as hero, WatchDog(services=services, workers=1):
        for request in requests:
            job = hero.wait(hero.submit(json.dumps(request), params_type="openrpc", circle_id="demo"), timeout=30)
            print(job.status, job.result or job.error)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080")
