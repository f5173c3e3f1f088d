"""bare EVALSHA: no queue, but the mark for HeroJobs' own submissions: redis-py's client sends the same bytes for the
same script, made before, and nothing is written to OurDB.
"""

from __future__ import annotations

import os
import time

from redis import Redis

from herojobs import Job
from herojobs.job import encode, now_ms
from herojobs.live import calls
from herojobs.live.call import script
from herojobs.live.keys import Keys
from herojobs.names import Queue

PACKAGES: list[str] = []  # this checkout's environment
OURS = True
WORKERS: dict[str, list[list[str]]] = {}
PARAMS = "!!bench.no_op"


def single(kind: str, count: int) -> float:
    queue = Queue("bench", "default")
    key = Keys().queue(queue)
    commands = []
    for number in range(1, count + 1):
        job = Job(params=PARAMS, circle_id=queue.circle, topic=queue.topic, job_id=number, created_ms=now_ms())
        call = calls.submit(queue, [(number, encode(job), 0, 0)])
        commands.append(("EVALSHA", script(call.script).sha, 1, key, *call.args))
    with Redis.from_url(os.environ["BENCH_REDIS"]) as redis:
        redis.script_load(script("submit").text)
        began = time.perf_counter()
        for command in commands:
            redis.execute_command(*command)
        return time.perf_counter() - began
