"""Settings: `HEROJOBS_*` variables, then `<home>/herojobs.toml`, then the defaults below.

The text below each field tells its meaning, its unit and what breaks when it is wrong; docs/settings.md is made
of these texts.
"""

from __future__ import annotations

import ast
import difflib
import os
import sys
import tomllib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from herojobs.ai_settings import AISettings
from herojobs.errors import SettingsError, did_you_mean
from herojobs.job import DEFAULT_MAX_PARAMS
from herojobs.limits import Limit
from herojobs.names import fixed_name
from herojobs.retries import RetryPolicy
from herojobs.service_settings import Service

PREFIX = "HEROJOBS_"
AI_MODEL = "HEROJOBS_AI_MODEL"
"""Variable that sets `model` in the table `[ai]`."""
OTHER_VARIABLES = frozenset({"HOME", "URL", "SESSION_KEY", "AI_MODEL", "AI_RECORD", "WORKER"})
"""What we read or set from variables with the prefix, though it is no setting."""
TYPO = 0.85
"""How near a variable must be to a setting's name to be taken for a mistyped one."""


Days = Annotated[float, Meta(ge=0, le=36_500)]
"""A number of days, or a part of one."""


HOOK_EVENTS = ("submitted", "started", "retrying", "done", "error")


class Webhook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody who is told by HTTP what becomes of jobs: a table `[webhooks.NAME]`."""

    url: str
    """Where to: http or https."""

    events: tuple[str, ...] = ("done", "error")
    """What it is told: submitted, started, retrying, done, error."""

    circles: tuple[str, ...] = ("*",)
    """Circles whose jobs it is told of; `*` is all."""

    secret: str = ""
    """Key of the signature in the header `X-HeroJobs-Signature`. `env:NAME` reads it from a variable where the
    WatchDog runs. Empty: requests aren't signed, so that the receiver can't know who sent them."""

    timeout: Annotated[float, Meta(gt=0, le=300)] = 10.0
    """Seconds that one request may take."""

    private: bool = False
    """Whether it may be at a private or local address. With false a receiver can't be used to reach what is
    behind your firewall."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"url {self.url!r}: write http://host/path or https://host/path")
        if parts.username is not None or parts.password is not None:
            raise ValueError(f"the url of host {parts.hostname!r} holds a user or password; use the secret")
        for event in self.events:
            if event not in HOOK_EVENTS:
                raise ValueError(f"events: no event {event!r}; {did_you_mean(event, HOOK_EVENTS)}")


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings, typed. Make them with `load`."""

    home: Path = Path("~/hero")
    """Folder of all data: job databases, logs, the embedded Redis. Must be on a local disk: file locks of
    network file systems don't hold between hosts. Only from HEROJOBS_HOME, since herojobs.toml is in
    it."""

    redis_url: str = ""
    """Redis to use, as redis://, rediss:// or unix:// address. Empty: the embedded server, shared by all
    processes of this home."""

    sync: Literal["always", "interval", "never"] = "interval"
    """When OurDB flushes to disk: `always` before a submission or result is acknowledged, `interval` at
    most 100 ms later, `never` leaves it to the kernel. A crashed process loses nothing with any of
    them; a power cut loses up to the interval."""

    default_timeout: Annotated[int, Meta(ge=1, le=2_592_000)] = 60
    """Seconds a job may run whose own timeout is 0."""

    retry: dict[str, RetryPolicy] = {}
    """How failing jobs are retried that don't say it themselves, by circle/topic, by circle, or `*` for
    all others; the nearest one counts, whole."""

    retry_max_delay: Annotated[float, Meta(ge=0, le=2_592_000)] = 3600.0
    """Longest pause between two tries of a failing job, in seconds; up to a quarter is added by chance."""

    limit: dict[str, Limit] = {}
    """How many jobs run at once and start in a time, by circle (all its topics together), by circle/topic,
    by circle/* (each topic of it) or * and */*; the nearest one counts, whole. `herojobs limit set` counts
    before it. All WatchDogs should have the same."""

    idempotency_ttl: Annotated[int, Meta(ge=1, le=31_536_000)] = 24 * 3600
    """Seconds after its submission that a job is found again by its `idempotency_key`."""

    max_params: Annotated[int, Meta(ge=1, le=8_388_608)] = DEFAULT_MAX_PARAMS
    """Longest params of a job, in bytes. Longer ones are refused at submission."""

    max_result: Annotated[int, Meta(ge=100, le=8_388_608)] = DEFAULT_MAX_PARAMS
    """Longest result or error of a job, in bytes. A longer result ends the job as failed, saying so."""

    result_ttl: Annotated[int, Meta(ge=0)] = 7 * 24 * 3600
    """Seconds that a job which is over stays in Redis; OurDB keeps it. 0: stays until deleted, so Redis
    grows."""

    retention: Days = 0.0
    """Days that a job which is over stays in OurDB, with its history and log; 0: for ever. Then WatchDogs delete it
    in the background, and `herojobs prune` does; see docs/retention.md. Too short: results are gone before they
    are read."""

    circle_retention: dict[str, Days] = {}
    """The same by circle, where it differs: `{demo = 7, accounts = 0}`."""

    log_retention: Days = 0.0
    """Days that the log of a job which is over is kept; 0: as long as the job."""

    circle_log_retention: dict[str, Days] = {}
    """The same by circle, where it differs."""

    upkeep_interval: Annotated[float, Meta(ge=0, le=2_592_000)] = 3600.0
    """Seconds between two times that a WatchDog deletes what is past its retention and compacts databases that
    are mostly deleted; 0: never, `herojobs prune` and `herojobs ourdb compact` do it then."""

    workers: Annotated[int, Meta(ge=0, le=256)] = 0
    """Exclusive worker processes of a WatchDog, each running one synchronous job at a time. 0: one a core."""

    concurrency: Annotated[int, Meta(ge=1, le=10_000)] = 200
    """Asynchronous jobs that the concurrent worker of a WatchDog runs at once."""

    actors: tuple[str, ...] = ()
    """Modules of actors that workers load, as importable names. A name that doesn't import stops the
    WatchDog's start."""

    circle_actors: dict[str, tuple[str, ...]] = {}
    """Actors that a circle's scripts may name, by circle; a circle that isn't listed may name all."""

    cross_circle: tuple[str, ...] = ()
    """Circles whose jobs may submit, read and change jobs of other circles by the actor `job`."""

    heroscript_include_root: str = ""
    """Folder that `!!play.include` may read from. Empty: includes are refused."""

    rhai_functions: tuple[str, ...] = ()
    """Modules whose functions Rhai scripts may call, as importable names: those in the module's dict
    `rhai_functions` by the names it gives (`name` or `namespace::name`), else all its public functions."""

    rhai_modules: dict[str, str] = {}
    """Folders that Rhai's `import` reads from, by circle; `*` is for all other circles. A circle without one can't
    import."""

    rhai_memory: Annotated[int, Meta(ge=1, le=1_000_000)] = 256
    """Megabytes that one run of a Rhai script may hold. A script that passes it ends with reason oom."""

    rhai_env: tuple[str, ...] = ()
    """Environment variables that a Rhai script's `env(name)` may read."""

    services: dict[str, Service] = {}
    """Services that jobs of kind openrpc may call, by name: tables `[services.NAME]`, see below. Administrators can
    add others at run time: `herojobs service add`."""

    openrpc_methods: tuple[str, ...] = ()
    """Modules with Python methods for jobs of kind openrpc, as importable names. A name that doesn't import
    stops the WatchDog's start."""

    openrpc_allow_urls: tuple[str, ...] = ()
    """Patterns of URLs that jobs may call besides services, like `https://*.example.com/rpc/*`. Private and local
    addresses only where the address itself stands in a pattern. Empty: none."""

    lease: Annotated[float, Meta(ge=1, le=3600)] = 15.0
    """Seconds after which a job whose WatchDog has vanished is taken over by another. Too short: a
    WatchDog that is merely slow loses its jobs, which then start a second time."""

    grace: Annotated[float, Meta(ge=0, le=60)] = 0.5
    """Seconds between interrupting a job that overran its timeout, so that it can clean up, and killing
    its worker."""

    stop_timeout: Annotated[float, Meta(ge=0, le=3600)] = 25.0
    """Seconds that running jobs get to finish when a WatchDog stops; what is left then goes back to its
    queue."""

    reconcile_interval: Annotated[float, Meta(ge=0.1)] = 60.0
    """Seconds between two comparisons of OurDB with Redis, which bring back jobs that Redis has lost."""

    worker_memory: Annotated[int, Meta(ge=0)] = 0
    """Megabytes of address space that a worker may use, 0: no limit. A job that passes it ends with reason
    oom. Linux only."""

    worker_open_files: Annotated[int, Meta(ge=0)] = 0
    """Files that a worker may have open, 0: the system's limit."""

    worker_max_jobs: Annotated[int, Meta(ge=0)] = 0
    """Jobs after which a worker is replaced by a fresh one, against leaks in the jobs' code. 0: never."""

    log_max: Annotated[int, Meta(ge=1000, le=1 << 30)] = 1000000
    """Most bytes kept of one job's log; the rest is dropped, and a last line says how much."""

    require_session: bool = False
    """Whether a job runs only if its session_key is valid for its circle, with role submitter at least; others
    end as failed. The server then refuses calls without a key, too."""

    foreign_topics: tuple[str, ...] = ()
    """Queues, as circle/topic, whose jobs other programs than HeroJobs fetch and run: reconciliation
    leaves them alone."""

    legacy_mirror: str = ""
    """One queue, as circle/topic, whose jobs are also written under the legacy key jobsmanager:<id>.
    Empty: none."""

    ourdb_dump: bool = True
    """Whether databases keep the dump that other OurDB programs read; see docs/ourdb.md before turning it
    off."""

    cluster: bool = False
    """Whether key names carry braces, so that Redis Cluster works. Other programs can't follow there;
    never change it while jobs are queued."""

    webhooks: dict[str, Webhook] = {}
    """Who is told by HTTP what becomes of jobs, by name: tables `[webhooks.NAME]`, see below."""

    hooks: tuple[str, ...] = ()
    """Modules whose functions `on_job_end(job)` and the like are called when jobs change their state, as
    importable names; see docs/webhooks.md."""

    ai: AISettings = AISettings()
    """The table `[ai]`: models, limits and tools of AI jobs; see below."""

    server_max_body: Annotated[int, Meta(ge=1000, le=1 << 30)] = 8_388_608
    """Largest request that the server reads, in bytes. Larger ones are answered 413, and none of it is kept."""

    server_connections: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    """Connections and requests that the server serves at once; further ones are answered 503."""

    server_rate: Annotated[float, Meta(ge=0)] = 0.0
    """Calls a second that a session may make over the server, 0: no limit. What is over is answered by error
    1003, which says when to come again."""

    server_burst: Annotated[int, Meta(ge=1)] = 1000
    """Calls that a session may make at once after a quiet time, where `server_rate` is set."""

    def retention_of(self, circle: str) -> float:
        """Return the days that jobs of a circle are kept when they are over, 0 for ever."""
        return _of_circle(self.circle_retention, circle, self.retention)

    def log_retention_of(self, circle: str) -> float:
        """Return the days that their logs are kept, 0 as long as the jobs."""
        return _of_circle(self.circle_log_retention, circle, self.log_retention)

    @property
    def has_retention(self) -> bool:
        """Whether anything is deleted some day."""
        lists = (self.circle_retention, self.circle_log_retention)
        return bool(self.retention or self.log_retention or any(any(each.values()) for each in lists))

    @property
    def circles_dir(self) -> Path:
        """The folder that holds a folder for each circle."""
        return self.home / "var" / "circles"


def _of_circle(days: Mapping[str, float], circle: str, default: float) -> float:
    return next((value for name, value in days.items() if fixed_name(name, "circle_id") == circle), default)


def load(environ: Mapping[str, str] | None = None, base: Settings | None = None, **overrides: Any) -> Settings:
    """Return the settings in force.

    Args:
        environ: the variables to read; those of the process if not given.
        base: settings to start from, in the place of variables and file.
        overrides: settings that count before all others; None means not given.

    Raises:
        SettingsError: a name is unknown or a value wrong; the error says where it stands.
    """
    environ = os.environ if environ is None else environ
    given = {name: value for name, value in overrides.items() if value is not None}
    if base is None:
        home = Path(given.get("home") or environ.get(PREFIX + "HOME") or "~/hero").expanduser().absolute()
        values = _from_file(home / "herojobs.toml")
        for name, (value, source) in _from_environment(environ).items():
            below = values.get(name, ({}, ""))[0]
            # That variable sets one member of a table; any other replaces the whole setting.
            joined = below | value if source == AI_MODEL and isinstance(below, dict) else value
            values[name] = (joined, source)
        base = Settings(home=home)
    else:
        values = {}
    values |= {name: (value, "") for name, value in given.items() if name != "home"}
    fields = {field.name: field for field in msgspec.structs.fields(Settings)}
    checked: dict[str, Any] = {}
    for name, (value, source) in values.items():
        if name not in fields:
            raise SettingsError(f"{source or name}: no such setting; {did_you_mean(name, fields)}")
        checked[name] = converted(value, fields[name].type, source or name)
    if "home" in given:
        checked["home"] = Path(given["home"]).expanduser().absolute()
    return msgspec.structs.replace(base, **checked)


def make_home(home: Path) -> None:
    """Make the home folder, for its owner alone, as jobs hold session keys; one that exists stays as it is."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)


def converted(value: Any, wanted: Any, place: str) -> Any:
    """Return a setting's value as its type wants it; tables are looked into, so that errors name the very field.

    Args:
        value: as it was given, a TOML or JSON value.
        wanted: the type.
        place: where the setting stands, for errors.

    Raises:
        SettingsError: it doesn't fit.
    """
    if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
        return _table(value, wanted, place)
    if get_origin(wanted) is dict and isinstance(value, dict):
        return {name: converted(each, get_args(wanted)[1], f"{place}.{name}") for name, each in value.items()}
    try:
        return msgspec.convert(value, wanted, strict=False)
    except msgspec.ValidationError as e:
        choices = get_args(wanted) if "enum" in str(e) else ()
        right = f"; {did_you_mean(str(value), choices)}" if choices else ""
        raise SettingsError(f"{place} {value!r}: {e}{right}") from None


def _table(value: Any, wanted: type[msgspec.Struct], place: str) -> msgspec.Struct:
    if isinstance(value, wanted):
        return value
    if not isinstance(value, dict):
        raise SettingsError(f"{place} {value!r}: not a table")
    fields = {field.name: field for field in msgspec.structs.fields(wanted)}
    for name in value:
        if name not in fields:
            raise SettingsError(f"{place}.{name}: no such setting; {did_you_mean(name, fields)}")
    for name, field in fields.items():
        if field.required and name not in value:
            raise SettingsError(f"{place} needs {name!r}")
    given = {name: converted(each, fields[name].type, f"{place}.{name}") for name, each in value.items()}
    try:
        return wanted(**given)
    except ValueError as e:
        raise SettingsError(f"{place}: {e}") from None


def _from_file(path: Path) -> dict[str, tuple[Any, str]]:
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as e:
        raise SettingsError(f"{path} can't be read: {e.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise SettingsError(f"{path}: {e}") from None
    return {name: (value, f"{path}: {name}") for name, value in table.items()}


def _from_environment(environ: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    fields = {field.name: field for field in msgspec.structs.fields(Settings)}
    found: dict[str, tuple[Any, str]] = {}
    for variable, text in environ.items():
        name = variable.removeprefix(PREFIX).lower()
        if not variable.startswith(PREFIX) or variable.removeprefix(PREFIX) in OTHER_VARIABLES:
            continue
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1, cutoff=TYPO)
            if near:
                raise SettingsError(f"{variable}: no such setting; did you mean {PREFIX}{near[0].upper()}?")
            continue  # other programs' variables may share the prefix
        value: Any = text
        default = default_of(fields[name])
        if isinstance(default, tuple):
            value = [part.strip() for part in text.split(",") if part.strip()]
        elif isinstance(default, dict | msgspec.Struct):
            try:
                value = msgspec.json.decode(text)
            except msgspec.DecodeError:
                raise SettingsError(f"{variable} {text!r}: not a JSON object") from None
        found[name] = (value, variable)
    if environ.get(AI_MODEL):
        found["ai"] = (found.get("ai", ({}, ""))[0] | {"model": environ[AI_MODEL]}, AI_MODEL)
    return found


def default_of(field: msgspec.structs.FieldInfo) -> Any:
    """Return a field's default; of tables and lists msgspec keeps only what makes them."""
    factory = field.default_factory
    return field.default if factory is msgspec.NODEFAULT else factory()


def meanings(table: type[msgspec.Struct] = Settings) -> dict[str, str]:
    """Return what each setting of a table means: the texts below the fields, from the source."""
    source = ast.parse(Path(str(sys.modules[table.__module__].__file__)).read_text("utf-8"))
    body = next(node for node in source.body if isinstance(node, ast.ClassDef) and node.name == table.__name__).body
    found = {}
    for field, text in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            assert isinstance(field.target, ast.Name)
            found[field.target.id] = " ".join(str(text.value.value).split())
    return found
