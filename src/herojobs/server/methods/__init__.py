"""All methods: importing this package registers them."""

from herojobs.server.methods import (
    again,
    events,
    flows,
    jobs,
    older,
    queues,
    schedules,
    services,
    sessions,
    system,
    upkeep,
    workers,
)
from herojobs.server.methods.registry import METHODS

__all__ = [
    "METHODS",
    "again",
    "events",
    "flows",
    "jobs",
    "older",
    "queues",
    "schedules",
    "services",
    "sessions",
    "system",
    "upkeep",
    "workers",
]
