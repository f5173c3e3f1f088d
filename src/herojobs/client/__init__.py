"""The clients: submit jobs, wait for them, look after them."""

from herojobs.client.asynchronous import AsyncHeroJobs
from herojobs.client.blocking import HeroJobs

__all__ = ["AsyncHeroJobs", "HeroJobs"]
