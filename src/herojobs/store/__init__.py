"""The durable history of jobs over OurDB, and a derived index for questions over many jobs (docs/store.md)."""

from herojobs.store.base import Found, Position, Put, Tip
from herojobs.store.index import JobIndex
from herojobs.store.jobs import JobStore

__all__ = ["Found", "JobIndex", "JobStore", "Position", "Put", "Tip"]
