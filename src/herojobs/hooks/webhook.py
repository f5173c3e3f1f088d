"""One webhook: builds, signs and posts its requests, and refuses addresses that it mustn't reach."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import os
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx2
import msgspec

from herojobs.hooks.outbox import Delivery
from herojobs.settings import Webhook

USER_AGENT = "HeroJobs-Webhook/1"
MOST_ANSWER = 200
"""Bytes of a refusing answer that the error shows."""


class Refused(Exception):
    """The receiver didn't take it; `after` seconds it may, 0 = it doesn't say."""

    def __init__(self, why: str, after: float = 0.0) -> None:
        self.after = after
        super().__init__(why)


class WebhookClient:
    """Posts deliveries of all webhooks."""

    def __init__(self) -> None:
        self._http = httpx2.AsyncClient(follow_redirects=False, trust_env=False)

    async def send(self, hook: Webhook, delivery: Delivery, now: int) -> None:
        """Post a delivery.

        Raises:
            Refused: it can't be reached, answers anything but 2xx, or has an address that isn't allowed.
        """
        body = body_of(delivery)
        parts = urlsplit(hook.url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        address = await _address(host, port, hook.private)
        shown = f"[{address}]" if ":" in address else address
        url = parts._replace(netloc=f"{shown}:{port}").geturl()  # the address that was checked, not one asked for anew
        timestamp = str(now // 1000)
        headers = {
            "Host": parts.netloc,
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "X-HeroJobs-Event": delivery.event,
            "X-HeroJobs-Delivery": f"{delivery.ref}:{delivery.key}",
            "X-HeroJobs-Timestamp": timestamp,
        }
        secret = _secret(hook)
        if secret:
            headers["X-HeroJobs-Signature"] = signature(secret, timestamp, body)
        try:
            async with asyncio.timeout(hook.timeout):
                async with self._http.stream(
                    "POST", url, content=body, headers=headers, extensions={"sni_hostname": host}, timeout=hook.timeout
                ) as answer:
                    if answer.is_success:
                        return
                    begin = b""
                    async for chunk in answer.aiter_raw():
                        begin += chunk
                        if len(begin) >= MOST_ANSWER:
                            break
                    text = begin[:MOST_ANSWER].decode("utf-8", "replace").strip()
                    after = answer.headers.get("Retry-After", "")
                    raise Refused(
                        f"it answered {answer.status_code}" + (f": {text}" if text else ""),
                        float(after) if after.isdigit() else 0.0,
                    )
        except TimeoutError:
            raise Refused(f"no answer within {hook.timeout:g} s") from None
        except (httpx2.HTTPError, OSError) as e:
            raise Refused(f"it can't be reached: {e or type(e).__name__}") from None

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()


def body_of(delivery: Delivery) -> bytes:
    """Return what is posted: event, reference, and the job as it was then, its session key masked."""
    return msgspec.json.encode(
        {
            "event": delivery.event,
            "ref": delivery.ref,
            "delivery": f"{delivery.ref}:{delivery.key}",
            "job": msgspec.Raw(delivery.job),
        }
    )


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Return what the header `X-HeroJobs-Signature` holds: HMAC-SHA256 over timestamp, a dot, and the body.

    The form is that of several well-known senders of webhooks; the time is in it against the replay of old requests.
    """
    digest = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"sha256={digest}"


def _secret(hook: Webhook) -> str:
    if hook.secret.startswith("env:"):
        name = hook.secret.removeprefix("env:")
        found = os.environ.get(name)
        if not found:
            raise Refused(f"its secret is in the variable {name}, which isn't set where the WatchDog runs")
        return found
    return hook.secret


async def _address(host: str, port: int, private: bool) -> str:
    """Return an address of a host; refuse one that isn't on the public internet, unless that is allowed."""
    try:
        found: list[Any] = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as e:
        raise Refused(f"the host {host} isn't found: {e}") from None
    addresses = [str(each[4][0]) for each in found]
    for address in addresses:
        if not private and not ipaddress.ip_address(address.partition("%")[0]).is_global:
            raise Refused(f"{host} is {address}, a private or local address; private = true allows it")
    return addresses[0]
