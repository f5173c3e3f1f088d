"""What a job may touch of other jobs: those of its circle, and by its session's role."""

from __future__ import annotations

from contextlib import closing

from herojobs.errors import Forbidden, Unauthorized
from herojobs.job import Job
from herojobs.names import Ref
from herojobs.settings import Settings


def check_circle(ref: str, circle: str, settings: Settings) -> None:
    """Refuse a job to touch a circle that isn't its own.

    Args:
        ref: the job's reference.
        circle: the fixed name of the circle.
        settings: the settings in force.

    Raises:
        Forbidden: it may not.
    """
    own = Ref.parse(ref).queue.circle
    if circle != own and own not in settings.cross_circle:
        raise Forbidden(f"a job of circle {own} may not touch circle {circle}; the setting cross_circle allows it")


def check_manages(job: Job, circle: str, settings: Settings) -> None:
    """Refuse a job to cancel, retry or delete jobs of a circle if who submitted it may not; without a key it may.

    Raises:
        Unauthorized: its session has ended.
        Forbidden: its session's role or circles don't allow it.
    """
    if not job.session_key:
        return
    from herojobs.sessions import Role, Sessions  # here: few jobs need them

    with closing(Sessions(settings)) as sessions:
        session = sessions.check(job.session_key)
    if session is None:
        raise Unauthorized("the session that submitted this job has ended")
    if why := session.refusal(Role.OPERATOR, circle):
        raise Forbidden(why)
