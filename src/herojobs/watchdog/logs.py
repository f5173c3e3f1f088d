"""Where the output of jobs goes: live to whoever follows it, and into a file if the job asks for its log."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from herojobs.live.admin import publish_log
from herojobs.live.call import Call
from herojobs.settings import Settings
from herojobs.store.base import Store
from herojobs.watchdog.runs import Run

log = logging.getLogger("herojobs.watchdog")


class JobLogs:
    """Keeps the logs of runs.

    Args:
        store: knows the files.
        settings: `log_max` bounds each file.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._limit = settings.log_max

    def write(self, output: Iterable[tuple[Run, str]]) -> list[Call[Any]]:
        """Append output to the files of the jobs that want it kept; return the calls that publish all of it."""
        texts: dict[Run, list[str]] = {}
        for run, text in output:
            texts.setdefault(run, []).append(text)
        calls: list[Call[Any]] = []
        for run, parts in texts.items():
            text = run.job.cleaned("".join(parts))
            if run.job.log:
                self._keep(run, text.encode())
            calls.append(publish_log(run.queue, run.id, text))
        return calls

    def _keep(self, run: Run, data: bytes) -> None:
        room = self._limit - run.logged
        if room <= 0:
            return
        path = self._store.log_path(run.queue, run.db_id)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                file.write(data[:room])
        except OSError as e:  # a job must not fail because its log can't be kept
            log.warning("%s: its log can't be kept: %s", run.ref, e)
            run.logged = self._limit
            return
        run.logged += len(data)
