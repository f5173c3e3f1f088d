"""Where calls may go."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket

import pytest

from herojobs.errors import SettingsError
from herojobs.openrpc.faults import Fault
from herojobs.openrpc.guard import Guard, forbidden, read_pattern
from openrpc.conftest import Calls, Peer
from openrpc.tls import tls_servers


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://127.0.0.1/", "127.0.0.1 is a loopback address"),
        ("http://2130706433/", "127.0.0.1 is a loopback address"),
        ("http://0x7f.1/", "127.0.0.1 is a loopback address"),
        ("http://127.1/", "127.0.0.1 is a loopback address"),
        ("http://localhost/", "is a loopback address"),
        ("http://[::1]/", "::1 is a loopback address"),
        ("http://[::ffff:127.0.0.1]/", "mapped form of 127.0.0.1"),
        ("http://[64:ff9b::7f00:1]/", "NAT64 form of 127.0.0.1"),
        ("http://[2002:7f00:1::]/", "6to4 form of 127.0.0.1"),
        ("http://10.0.0.1/", "10.0.0.1 is a private address"),
        ("http://[fd00:ec2::254]/", "is a private address"),
        ("http://169.254.169.254/latest", "a metadata service"),
        ("http://168.63.129.16/", "a metadata service"),
        ("http://169.254.1.1/", "is a link-local address"),
        ("http://100.100.100.200/", "is no public address"),
        ("http://224.0.0.1/", "is a multicast address"),
        ("http://0.0.0.0/", "0.0.0.0 is a private address"),
        ("http://me:secret@8.8.8.8/", "holds a user or password"),
        ("http://8.8.8.8/a/../b", "has . or .. in it"),
        ("http://8.8.8.8/a/%2e%2e/b", "has . or .. in it"),
        ("http://8.8.8.8\\@127.0.0.1/", "holds a user or password"),
        ("http://8.8.8.8\\.x/", "is no URL of a host"),
        ("http:///x", "is no URL of a host"),
        ("http://8.8.8.8:99999/", "is no URL"),
        ("https://8.8.8.8/", "no pattern"),
        ("http://8.8.8.8:81/", "no pattern"),
        ("ftp://8.8.8.8/", "the scheme 'ftp'"),
        ("unix:/run/x", "the scheme 'unix'"),
        ("file:///etc/passwd", "the scheme 'file'"),
    ],
)
async def test_refusals_name_their_rule(url: str, told: str) -> None:
    with pytest.raises(Fault) as caught:
        await Guard(["http://*/*"]).check(url)
    assert caught.value.code == 2004
    assert told in caught.value.message
    assert "secret" not in caught.value.message


async def test_public_addresses_pass_and_listed_ones_do() -> None:
    guard = Guard(["http://*", "http://127.0.0.1:9000/rpc/*", "http://localhost:9000/*", "https://*.example.com:*"])
    assert await guard.check("http://8.8.8.8/") == "8.8.8.8"
    assert await guard.check("http://127.0.0.1:9000/rpc/x") == "127.0.0.1"
    for url in ("http://127.0.0.1:9000/other", "http://localhost:9000/other", "https://example.com/"):
        with pytest.raises(Fault):
            await guard.check(url)
    assert await guard.check("http://localhost:9000/rpc/x") == "127.0.0.1"


async def test_nothing_passes_an_empty_list() -> None:
    with pytest.raises(Fault, match="openrpc_allow_urls is empty"):
        await Guard([]).check("http://8.8.8.8/")


@pytest.mark.parametrize("pattern", ["example.com", "ftp://x", "http://", "http://x:y/", "unix:/x"])
def test_patterns_that_cannot_be_read_are_named(pattern: str) -> None:
    with pytest.raises(SettingsError, match="openrpc_allow_urls"):
        read_pattern(pattern)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert forbidden(ipaddress.ip_address(address)) == ""


@pytest.mark.parametrize("way", ["http", "ws"])
async def test_the_connection_goes_to_the_address_that_was_checked(
    way: str, calls: Calls, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = peer.url(way).replace("127.0.0.1", "pets.example.com")
    port = peer.ws_port if way == "ws" else peer.http_port
    scheme = url.partition(":")[0]
    caller = calls.caller(None, openrpc_allow_urls=(f"{scheme}://pets.example.com:*", f"{scheme}://127.0.0.1:{port}"))
    loop = asyncio.get_running_loop()
    asked = []
    real = loop.getaddrinfo

    async def resolved(host: str, *more: object, **named: object) -> object:
        asked.append(host)
        if host == "pets.example.com":  # a second question would get another answer
            assert len(asked) == 1 or asked.count(host) <= 2
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
        return await real(host, *more, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "getaddrinfo", resolved)
    (answered,) = await calls(caller, {"method": "pets.get", "params": [1]}, url=url)
    assert answered.error is None
    assert json.loads(answered.result)["name"] == "Tom"
    assert asked.count("pets.example.com") == 1
    host = peer.looked()[0][-1]["headers"]["host"]
    assert host == f"pets.example.com:{port}"
    (again,) = await calls(caller, {"method": "pets.get", "params": [1]}, url=url)
    assert again.error is None
    assert len(caller._peers) == 1


async def test_no_proxy_of_the_environment_is_used(calls: Calls, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    from herojobs.service_settings import Service

    for variable in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for way in ("http", "ws"):
        assert (await calls.one(Service(url=peer.url(way)), "pets.list")).error is None


@pytest.mark.parametrize("scheme", ["https", "wss"])
async def test_a_certificate_must_be_for_the_hosts_name_not_for_its_address(
    scheme: str, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    real = loop.getaddrinfo

    async def resolved(host: str, port: int, *more: object, **named: object) -> object:
        if host.endswith(".example.com"):
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
        return await real(host, port, *more, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "getaddrinfo", resolved)
    async with tls_servers("pets.example.com") as (certificate, ports):
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        allowed = (f"{scheme}://*.example.com:*", f"{scheme}://127.0.0.1:*")
        for host, code in (("pets.example.com", None), ("other.example.com", 2001)):
            caller = calls.caller(None, openrpc_allow_urls=allowed)
            (answered,) = await calls(caller, {"method": "x"}, url=f"{scheme}://{host}:{ports[scheme]}/")
            assert (answered.error and answered.error.code) == code, answered.error
