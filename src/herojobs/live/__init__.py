"""Queues, leases and events in Redis. docs/redis.md tells keys, fields and scripts.

A call is a value that says which script to run on which queue (`Call[T]`, made by the functions of `calls` and
`admin`); a transport runs it. One queue's jobs go hundreds at a time.

    redis = AsyncRedis(url)  or  BlockingRedis(url)      urls: redis:// rediss:// unix://; options cluster, timeout
    await redis.run(call) -> T                           one round trip
    await redis.run_many([call, ...]) -> list[T]         one round trip for all, no transaction
    await redis.command("LLEN", key)                     a plain command; commands([...]) in one round trip
    await redis.subscription() -> Subscription           subscribe, psubscribe, unsubscribe, next(timeout), close
    await redis.close()
    run_sync(coroutine)                                  carries out a coroutine that awaits a BlockingRedis only

calls (queue is `names.Queue`; a key is an id, `int`, or `bytes` if a foreign program pushed something else):

    submit(queue, [(id, job JSON, due_ms, priority) or Entry]) -> Submitted(present, existing)
    claim(queue, n, lease_ms, token) -> Claim(now, next_due, waiting, jobs: [Claimed], dropped)
    start(queue, token, [(key, JSON)]) -> Started(lost, cancelled)
    extend(queue, lease_ms, [(key, token)]) -> Extended(lost, cancelled, missing)
    finish(queue, [(key, token, JSON, status)], ttl) -> [bool]           False = lost
    put_back(queue, [(key, token, JSON or b"")], delay_ms=0, count_attempt=...) -> [bool]

watching (coroutines that take a transport):

    waiting(redis, queues) -> Waiting(counts, marker)
    mark(redis, marker) -> marker in force
    find_queues(redis, foreign=True) -> Found(queues, invalid)
    wait_for_work(redis, queues, timeout) -> Queue | None
    register(redis, queues), publish_log(redis, queue, job_id, text)

Every call that touches Redis raises `errors.RedisUnavailable` alone.
"""

from herojobs.live.aio import AsyncRedis
from herojobs.live.blocking import BlockingRedis
from herojobs.live.call import Call
from herojobs.live.calls import (
    Claim,
    Claimed,
    Entry,
    Existing,
    Extended,
    JobKey,
    Started,
    Submitted,
    claim,
    extend,
    finish,
    put_back,
    start,
    submit,
    sum_of,
)
from herojobs.live.keys import Keys
from herojobs.live.redis import Message, Redis, Subscription, run_sync
from herojobs.live.watching import (
    Found,
    Waiting,
    find_queues,
    mark,
    publish_log,
    register,
    wait_for_work,
    waiting,
)

__all__ = [
    "AsyncRedis",
    "BlockingRedis",
    "Call",
    "Claim",
    "Claimed",
    "Entry",
    "Existing",
    "Extended",
    "Found",
    "JobKey",
    "Keys",
    "Message",
    "Redis",
    "Started",
    "Submitted",
    "Subscription",
    "Waiting",
    "claim",
    "extend",
    "find_queues",
    "finish",
    "mark",
    "publish_log",
    "put_back",
    "register",
    "run_sync",
    "start",
    "submit",
    "sum_of",
    "wait_for_work",
    "waiting",
]
