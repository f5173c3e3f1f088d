"""Orders: what the shop does at once, and what it leaves to jobs."""

from __future__ import annotations

from datetime import datetime, timedelta

from herojobs import HeroJobs, Job

REMIND_AFTER = timedelta(days=3)


def place(number: int, customer: str, now: datetime) -> Job:
    """Take an order: have it packed now, and the customer asked for an opinion in three days."""
    with HeroJobs() as hero:
        packing = hero.submit(f"!!parcel.pack order:{number}", circle_id="shop", topic="packing", tags=["order"])
        hero.submit(
            f"!!mail.ask_opinion to:'{customer}' order:{number}", circle_id="shop", topic="mail", at=now + REMIND_AFTER
        )
    return packing
