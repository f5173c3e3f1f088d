"""Metrics for Prometheus, at GET /metrics.

Nothing is done for them while jobs run: ends are heard as events, which are only collected, and read from the store in
batches; depths and sizes are looked at when somebody scrapes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from herojobs.errors import RedisUnavailable
from herojobs.job import Job, now_ms
from herojobs.live.events import Event
from herojobs.names import Queue
from herojobs.server.backend import Backend
from herojobs.server.health import watchdogs
from herojobs.server.methods.queues import known, look
from herojobs.server.shapes import Queue as Look

log = logging.getLogger("herojobs.server")

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MOST_QUEUES = 500
"""Queues with labels of their own; all further ones count as circle `other`, topic `other`."""
MOST_KEPT = 100_000
"""Ended jobs that wait to be counted; further ones are dropped and counted as such."""
BATCH = 500
"""Ended jobs that are read at a time, between which others have their turn."""
EVERY = 1.0
"""Seconds between two counts."""
SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 1800, 3600)
OTHER = ("other", "other")
_ENDS = ("done", "error")


class Metrics(Collector):
    """Counts what happens, between `start` and `stop`.

    Args:
        backend: what is counted.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._ended: deque[tuple[Queue, int]] = deque()
        self._labels: dict[Queue, tuple[str, str]] = {}
        self._kinds: set[str] = set()
        self._models: set[str] = set()
        self._queues: list[Look] = []
        self._watchdogs = 0
        self._times: dict[tuple[str, str, str], tuple[Histogram, Histogram]] = {}
        self._task: asyncio.Task[None] | None = None
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which nobody reads
        registry = self._registry = CollectorRegistry(auto_describe=False)
        queue = ["circle", "topic"]
        self._submitted = Counter("herojobs_submitted_jobs", "Jobs submitted.", queue, registry=registry)
        self._finished = Counter(
            "herojobs_finished_jobs", "Jobs that ended.", [*queue, "kind", "outcome"], registry=registry
        )
        self._ran = Histogram(
            "herojobs_run_seconds", "How long jobs ran.", [*queue, "kind"], buckets=SECONDS, registry=registry
        )
        self._waited = Histogram(
            "herojobs_wait_seconds",
            "How long jobs waited from when they were due until they started.",
            [*queue, "kind"],
            buckets=SECONDS,
            registry=registry,
        )
        self._tokens = Counter(
            "herojobs_ai_tokens",
            "Tokens that AI jobs sent (input) and received (output).",
            ["model", "kind"],
            registry=registry,
        )
        self._cost = Counter(
            "herojobs_ai_cost_usd", "USD that AI jobs cost, as far as known.", ["model"], registry=registry
        )
        self._uncounted = Counter(
            "herojobs_uncounted_jobs", "Ended jobs that aren't in the figures: too many at once.", registry=registry
        )
        registry.register(self)
        ProcessCollector(registry=registry)

    def start(self) -> None:
        """Begin to count."""
        self._backend.feed.add(self._hear)
        self._task = asyncio.create_task(self._count_always())

    async def stop(self) -> None:
        """Stop counting."""
        self._backend.feed.remove(self._hear)
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def render(self) -> tuple[bytes, str]:
        """Return all metrics as text, and its content type."""
        await self._count()
        self._queues = []
        self._watchdogs = 0
        with contextlib.suppress(RedisUnavailable):
            self._watchdogs = await watchdogs(self._backend)
            self._queues = await look(self._backend, await known(self._backend))
        return await asyncio.to_thread(generate_latest, self._registry), CONTENT_TYPE

    def collect(self) -> Iterator[Metric]:
        """Yield what is looked at when somebody scrapes."""
        depth = GaugeMetricFamily("herojobs_queue_jobs", "Jobs in queues.", labels=["circle", "topic", "state"])
        oldest = GaugeMetricFamily(
            "herojobs_queue_oldest_seconds", "Age of the job that is next.", labels=["circle", "topic"]
        )
        paused = GaugeMetricFamily("herojobs_queue_paused", "1 = paused.", labels=["circle", "topic"])
        yield GaugeMetricFamily("herojobs_watchdogs", "WatchDogs that run.", value=self._watchdogs)
        now = now_ms()
        sums: dict[tuple[str, str], list[float]] = {}
        for each in self._queues:
            total = sums.setdefault(self._label(Queue(each.circle_id, each.topic)), [0, 0, 0, 0, 0])
            for place, number in enumerate((each.waiting, each.scheduled, each.active)):
                total[place] += number
            total[3] = max(total[3], max(0, now - each.oldest) / 1000 if each.oldest else 0)
            total[4] = max(total[4], each.paused)
        for label, (waiting, scheduled, active, age, is_paused) in sums.items():
            for state, count in (("waiting", waiting), ("scheduled", scheduled), ("active", active)):
                depth.add_metric([*label, state], count)
            oldest.add_metric(label, age)
            paused.add_metric(label, is_paused)
        yield from (depth, oldest, paused)
        yield self._sizes()

    def _sizes(self) -> Metric:
        sizes = GaugeMetricFamily("herojobs_ourdb_bytes", "Bytes of OurDB's files.", labels=["circle", "topic"])
        sums: dict[tuple[str, str], int] = {}
        for queue in self._backend.store.queues():
            label = self._label(queue)
            sums[label] = sums.get(label, 0) + _size(self._backend.store.path(queue))
        for label, number in sums.items():
            sizes.add_metric(label, number)
        return sizes

    def _hear(self, queue: Queue, events: list[Event]) -> None:
        submitted = 0
        for event in events:
            if event.event in _ENDS and isinstance(event.id, int):
                if len(self._ended) >= MOST_KEPT:
                    self._uncounted.inc()
                else:
                    self._ended.append((queue, event.id))
            submitted += event.event in ("submitted", "scheduled")
        if submitted:
            self._submitted.labels(*self._label(queue)).inc(submitted)

    async def _count_always(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self._count()
            except Exception:  # figures must not end with one odd record
                log.exception("ended jobs couldn't be counted")

    async def _count(self) -> None:
        while self._ended:
            by_queue: dict[Queue, list[int]] = {}
            for _ in range(min(BATCH, len(self._ended))):
                queue, id = self._ended.popleft()
                by_queue.setdefault(queue, []).append(id)
            for queue, ids in by_queue.items():
                label = self._label(queue)
                for job in self._backend.store.get_many(queue, ids):
                    if job is not None and job.is_over:
                        self._observe(label, job)
            await asyncio.sleep(0)

    def _observe(self, label: tuple[str, str], job: Job) -> None:
        kind = job.params_type
        if kind not in self._kinds:
            if len(self._kinds) >= MOST_QUEUES:
                kind = "other"
            self._kinds.add(kind)
        labels = (*label, kind)
        self._finished.labels(*labels, job.reason or job.status).inc()
        if job.started_ms:
            times = self._times.get(labels)
            if times is None:
                times = self._times[labels] = (self._ran.labels(*labels), self._waited.labels(*labels))
            ran, waited = times
            ran.observe(max(0, job.ended_ms - job.started_ms) / 1000)
            due = max(job.created_ms, job.time_scheduled * 1000)
            waited.observe(max(0, job.started_ms - due) / 1000)
        if job.usage:
            self._count_usage(job.usage)

    def _count_usage(self, usage: dict[str, Any]) -> None:
        """Count what an AI job used."""
        model = str(usage.get("model", ""))
        if model not in self._models:
            if len(self._models) >= MOST_QUEUES:
                model = "other"
            self._models.add(model)
        for kind in ("input", "output"):
            self._tokens.labels(model, kind).inc(max(0, int(usage.get(f"{kind}_tokens") or 0)))
        self._cost.labels(model).inc(max(0.0, float(usage.get("cost") or 0)))

    def _label(self, queue: Queue) -> tuple[str, str]:
        label = self._labels.get(queue)
        if label is None:
            if len(self._labels) >= MOST_QUEUES:
                return OTHER
            label = self._labels[queue] = (queue.circle, queue.topic)
        return label


def _size(folder: Path) -> int:
    total = 0
    with contextlib.suppress(OSError):
        for file in folder.rglob("*"):
            with contextlib.suppress(OSError):
                total += file.stat().st_size
    return total
