"""Which services there are: those of the settings, and those that an administrator added at run time.

The latter are files in `<home>/var/openrpc/services`, one a service, readable by the owner alone; every process of the
home sees a change at its next call.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from herojobs.errors import SettingsError, did_you_mean
from herojobs.openrpc.faults import refused
from herojobs.service_settings import Service
from herojobs.settings import Settings, converted

log = logging.getLogger("herojobs.openrpc")

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_SETTLED = 1_000_000_000
"""Nanoseconds after which a folder's time of change tells a further change for sure."""


class Listed(NamedTuple):
    """A service, and where it is from: `settings` or `added`."""

    service: Service
    origin: str


class Services:
    """The services by name.

    Args:
        settings: the settings in force.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.folder = settings.home / "var" / "openrpc"
        self._files = self.folder / "services"
        self._added: dict[str, Service] = {}
        self._seen = 0

    def all(self) -> dict[str, Listed]:
        """Return all services; one of the settings counts before an added one of its name."""
        self._look()
        found = {name: Listed(service, "added") for name, service in self._added.items()}
        found |= {name: Listed(service, "settings") for name, service in self._settings.services.items()}
        return dict(sorted(found.items()))

    def for_circle(self, circle: str) -> dict[str, Service]:
        """Return the services that a circle's jobs may call."""
        return {name: each.service for name, each in self.all().items() if _may(each.service, circle)}

    def get(self, name: str, circle: str | None = None) -> Service:
        """Return a service.

        Args:
            name: its name.
            circle: the circle that asks; None: an administrator, who may see all.

        Raises:
            Fault: there is none of that name for the circle.
        """
        service = self._settings.services.get(name)
        if service is None:
            self._look()
            service = self._added.get(name)
        if service is None or (circle is not None and not _may(service, circle)):
            known = self.all() if circle is None else self.for_circle(circle)
            hint = did_you_mean(name, known) or "the settings name none ([services.NAME])"
            whose = "" if circle is None else f" for circle {circle}"
            raise refused(f"there is no service {name!r}{whose}; {hint}")
        return service

    def set(self, name: str, fields: dict[str, Any] | Service) -> Service:
        """Add a service, or change one that was added.

        Args:
            name: its name.
            fields: the fields of its table, as in the settings.

        Raises:
            SettingsError: the name or a field is wrong, or the settings hold one of that name.
        """
        if not _NAME.fullmatch(name):
            raise SettingsError(f"service {name!r}: a name has letters, digits, _ . and -, at most 100")
        if name in self._settings.services:
            raise SettingsError(f"service {name!r} stands in the settings; change it there")
        service: Service = converted(fields, Service, f"service {name}")
        self._files.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(self._files / f"{name}.json", msgspec.json.encode(service))
        self._seen = 0
        return service

    def remove(self, name: str) -> None:
        """Remove a service that was added.

        Raises:
            Fault: there is none of that name.
            SettingsError: it stands in the settings.
        """
        self.get(name)
        if name in self._settings.services:
            raise SettingsError(f"service {name!r} stands in the settings; remove it there")
        (self._files / f"{name}.json").unlink(missing_ok=True)
        self._seen = 0

    def _look(self) -> None:
        try:
            changed = self._files.stat().st_mtime_ns
        except FileNotFoundError:
            self._added, self._seen = {}, 0
            return
        if changed == self._seen:
            return
        self._added = {}
        for path in sorted(self._files.glob("*.json")):
            try:
                self._added[path.stem] = msgspec.json.decode(path.read_bytes(), type=Service)
            except FileNotFoundError:
                continue
            except (OSError, msgspec.DecodeError, UnicodeDecodeError) as e:
                log.warning("%s is no service: %s", path, e)
        # What changed just now may change again without the time telling.
        self._seen = changed if time.time_ns() - changed > _SETTLED else 0


def _may(service: Service, circle: str) -> bool:
    return "*" in service.circles or circle in service.circles


def shown_url(url: str) -> str:
    """Return a service's address without what may hold a key: its query, and a user."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="***" if parts.query else "").geturl()


def shown_service(service: Service) -> dict[str, Any]:
    """Return a service's fields for people, as `shown_url`; headers are masked, but for the names of variables."""
    fields: dict[str, Any] = msgspec.to_builtins(service)
    fields["url"] = shown_url(service.url)
    fields["headers"] = {name: each if each.startswith("env:") else "***" for name, each in fields["headers"].items()}
    return fields


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that only its owner reads; others see all of it or what was there before."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
