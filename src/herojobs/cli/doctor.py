"""`herojobs doctor`: is everything as it should be, and what to do where it isn't."""

from __future__ import annotations

import resource
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import typer

from herojobs.cli import common
from herojobs.cli.common import Json, options
from herojobs.errors import HeroJobsError
from herojobs.names import Queue
from herojobs.settings import Settings

LITTLE_DISK = 1 << 30
FULL_DISK = 1 << 20
FEW_FILES = 1024
CLOCK_OFF = 1.0


class Finding(NamedTuple):
    """One thing that was looked at; `advice` says what to do where it isn't ok."""

    what: str
    state: Literal["ok", "warning", "problem"]
    found: str
    advice: str = ""


def doctor(json: Json = False) -> None:
    """Look at Redis, the clock, limits, the disk and all databases; ends with 1 if there is a problem."""
    settings = options.settings()
    with common.working("looking ..."):
        findings = [*_redis(settings), *_machine(settings), *_databases(settings)]
    if json:
        common.print_json(findings)
    else:
        colours = {"ok": "green", "warning": "yellow", "problem": "red"}
        out = common.console()
        for finding in findings:
            state = f"[{colours[finding.state]}]{finding.state:8}[/]"
            out.print(f"{state} {finding.what:14} {finding.found}")
            if finding.advice:
                out.print(f"{'':8} {'':14} {finding.advice}")
    if any(finding.state == "problem" for finding in findings):
        raise typer.Exit(common.JOB_FAILED)


def _redis(settings: Settings) -> Iterator[Finding]:
    from herojobs.live.connect import connect_blocking
    from herojobs.live.transport import run_sync

    try:
        redis = connect_blocking(settings)
    except HeroJobsError as e:
        yield Finding("Redis", "problem", str(e), "start it, or mend the setting redis_url")
        return
    info = {}
    for line in run_sync(redis.command("INFO")).decode().splitlines():
        name, colon, value = line.partition(":")
        if colon:
            info[name] = value
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version") or info["redis_version"]
    old = name == "Redis" and tuple(map(int, version.split(".")[:2])) < (6, 2)
    kind = "embedded" if not settings.redis_url else redis.address
    yield Finding(
        "Redis", "problem" if old else "ok", f"{name} {version}, {kind}", "6.2 or newer is needed" if old else ""
    )
    persists = info.get("aof_enabled") == "1"
    yield Finding(
        "persistence",
        "ok" if persists else "warning",
        "append-only file" if persists else "no append-only file",
        "" if persists else "after a restart the queues are rebuilt from OurDB, which takes a while: appendonly yes",
    )
    policy = info.get("maxmemory_policy", "noeviction")
    yield Finding(
        "eviction",
        "ok" if policy == "noeviction" else "problem",
        policy,
        "" if policy == "noeviction" else "Redis may drop queued jobs: set maxmemory-policy noeviction",
    )
    began = time.time()
    seconds, micros = run_sync(redis.command("TIME"))
    off = int(seconds) + int(micros) / 1e6 - (began + time.time()) / 2
    late = abs(off) > CLOCK_OFF
    yield Finding(
        "clock",
        "warning" if late else "ok",
        f"{off * 1000:+.0f} ms from Redis's",
        "scheduled jobs start by Redis's clock: keep both by NTP" if late else "",
    )
    run_sync(redis.close())


def _machine(settings: Settings) -> Iterator[Finding]:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = soft < FEW_FILES
    yield Finding(
        "open files",
        "warning" if few else "ok",
        f"{soft:,} allowed",
        f"each open database takes a handful: ulimit -n {FEW_FILES * 4}" if few else "",
    )
    folder: Path = settings.home
    if folder.is_dir():
        mode = folder.stat().st_mode & 0o077
        # Jobs' records hold their session keys, and params whatever jobs are about.
        yield Finding(
            "home",
            "warning" if mode else "ok",
            f"{folder} {'can be read by others' if mode else 'is for its owner alone'}",
            f"jobs and their session keys are in it: chmod 700 {folder}" if mode else "",
        )
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    little = free < LITTLE_DISK
    yield Finding(
        "disk",
        "problem" if free < FULL_DISK else "warning" if little else "ok",
        f"{free / (1 << 30):,.1f} GiB free below {settings.home}",
        "nothing is accepted once it is full" if little else "",
    )


def _databases(settings: Settings) -> Iterator[Finding]:
    from herojobs.ourdb import DatabaseLocked, DiskFull, OurDB, OurDBError
    from herojobs.store import JobStore
    from herojobs.store.imports import raw_databases
    from herojobs.store.jobs import id_of

    store = JobStore(settings)
    queues = store.queues()
    bad = locked = 0
    for queue in queues:
        try:
            with OurDB(store.path(queue), id_of=id_of) as db:
                report = db.check()
        except (OSError, DatabaseLocked, DiskFull) as e:  # nothing is damaged, as far as can be told
            locked += 1
            advice = "all of it must be its user's: HeroJobs runs as one user" if isinstance(e, PermissionError) else ""
            yield Finding(str(queue), "problem", common.told(e), advice)
            continue
        except OurDBError as e:
            bad += 1
            yield Finding(str(queue), "problem", str(e), _mend(queue))
            continue
        if not report.ok:
            bad += 1
            yield Finding(str(queue), "problem", str(report), _mend(queue))
    for path, queue_meant in raw_databases(settings.circles_dir):
        circle_and_topic = f"{path.parent.parent.name}/{path.parent.name}"
        command = f"herojobs ourdb import '{path}'"
        free = queue_meant is not None and queue_meant not in queues
        yield Finding(
            circle_and_topic,
            "warning",
            "its folder isn't named as a queue's is: jobs in it aren't seen",
            f"{command}, then move it away"
            if free
            else f"if it was imported, move it away; else {command} CIRCLE/TOPIC",
        )
    found = f"{len(queues) - locked} checked, {bad} damaged" + (f", {locked} can't be opened" if locked else "")
    yield Finding("databases", "problem" if bad or locked else "ok", found)
    store.close()


def _mend(queue: Queue) -> str:
    # a repair keeps bytes that can't be read, in case somebody can make sense of them; only compaction drops them
    return f"herojobs ourdb repair {queue}, then herojobs ourdb compact {queue} to drop what can't be read"


COMMANDS: dict[str, Any] = {"doctor": doctor}
