"""Who may run: with the setting `require_session`, a job without a valid key for its circle ends before it runs.

One look for all jobs of a claim. A claim that can't be checked is given back, never let through.
"""

from __future__ import annotations

from collections.abc import Sequence

from herojobs.live.transport import Redis
from herojobs.names import Queue
from herojobs.sessions import Role, Sessions
from herojobs.settings import Settings
from herojobs.watchdog.runs import Run


class Gate:
    """Checks the session keys of claimed jobs.

    Args:
        settings: whose sessions.
        redis: who is asked where this home has no sessions of its own.
    """

    def __init__(self, settings: Settings, redis: Redis) -> None:
        self._sessions = Sessions(settings)
        self._redis = redis

    async def refusals(self, queue: Queue, runs: Sequence[Run]) -> dict[Run, str]:
        """Return why which runs may not begin.

        Raises:
            SessionError, RedisUnavailable: it can't be said.
        """
        known = await self._sessions.check_many({run.job.session_key for run in runs}, self._redis)
        refused = {key: session.refusal(Role.SUBMITTER, queue.circle) for key, session in known.items() if session}
        missing = "no session key, and the setting require_session asks for one"
        wrong = "its session key isn't valid: unknown, expired or revoked"
        told = {}
        for run in runs:
            key = run.job.session_key
            why = refused.get(key, wrong) if key else missing
            if why:
                told[run] = f"not allowed to run: {why}"
        return told
