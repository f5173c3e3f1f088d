"""Names of Redis keys and channels (Redis layout, C1)."""

from __future__ import annotations

from herojobs.names import Queue

TOPICS = "herotopics"
ALIVE = "heroalive"


class Keys:
    """Key names, with or without braces.

    Args:
        cluster: write each queue in braces, `heroqueue:{circle:topic}`, so that all its keys share a slot of
            Redis Cluster. Foreign programs can't follow there.
    """

    __slots__ = ("_cache", "cluster")

    def __init__(self, cluster: bool = False) -> None:
        self.cluster = cluster
        self._cache: dict[Queue, str] = {}

    def q(self, queue: Queue) -> str:
        """The queue as it stands in key names."""
        return f"{{{queue.key}}}" if self.cluster else queue.key

    def queue(self, queue: Queue) -> str:
        """The list of ids; the key that every script gets."""
        key = self._cache.get(queue)
        if key is None:
            if len(self._cache) >= 10_000:
                self._cache.clear()
            key = self._cache[queue] = f"heroqueue:{self.q(queue)}"
        return key

    def job(self, queue: Queue, job_id: int | str) -> str:
        """The hash of one job."""
        return f"herojobs:{self.q(queue)}:{job_id}"

    def of(self, kind: str, queue: Queue) -> str:
        """Another key or channel of a queue: `herolease`, `herolater`, `heroevents` ... (docs/redis.md)."""
        return f"{kind}:{self.q(queue)}"

    def log(self, queue: Queue, job_id: int) -> str:
        """The channel that a running job's output is published on."""
        return f"herolog:{self.q(queue)}:{job_id}"

    def parse(self, key: str) -> Queue | None:
        """Return the queue that a key or channel of the form `kind:<q>` belongs to, None if it is no valid name."""
        q = key.partition(":")[2]
        if self.cluster:
            if not (q.startswith("{") and q.endswith("}")):
                return None
            q = q[1:-1]
        return Queue.parse(q)
