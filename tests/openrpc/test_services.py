"""Which services there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from herojobs.errors import SettingsError
from herojobs.openrpc import Services
from herojobs.openrpc.faults import Fault
from herojobs.service_settings import Service
from herojobs.settings import load


def services(home: Path) -> Services:
    return Services(load({}, home=home, services={"fixed": Service(url="http://x/")}))


def test_a_service_that_is_added_is_seen_by_every_process_at_once(tmp_path: Path) -> None:
    one, other = services(tmp_path), services(tmp_path)
    assert list(one.all()) == list(other.all()) == ["fixed"]
    for url in ("http://a/", "http://b/"):
        one.set("pets", {"url": url, "retries": 0})
        assert other.get("pets").url == url
    assert other.all()["pets"].origin == "added"
    assert (tmp_path / "var/openrpc/services/pets.json").stat().st_mode & 0o077 == 0
    one.remove("pets")
    assert list(other.all()) == ["fixed"]
    with pytest.raises(Fault, match="no service 'pets'"):
        other.get("pets")


@pytest.mark.parametrize(
    ("name", "fields", "told"),
    [
        ("pets", {"urk": "x"}, "service pets.urk: no such setting; did you mean 'url'"),
        ("pets", {"url": "x"}, "service pets: 'x'"),
        ("pets", {}, "service pets needs 'url'"),
        ("../pets", {"url": "http://x/"}, "a name has letters"),
        ("fixed", {"url": "http://x/"}, "stands in the settings"),
    ],
)
def test_what_cannot_be_added_is_told(tmp_path: Path, name: str, fields: dict[str, object], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        services(tmp_path).set(name, fields)
    assert not (tmp_path / "var").exists()


def test_a_broken_file_hides_no_other_service(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = services(tmp_path)
    one.set("pets", {"url": "http://x/"})
    (tmp_path / "var/openrpc/services/torn.json").write_text('{"url": "http')
    assert list(services(tmp_path).all()) == ["fixed", "pets"]
    assert "torn.json" in caplog.text


def test_a_circle_sees_its_own_services_alone(tmp_path: Path) -> None:
    one = services(tmp_path)
    one.set("secret", {"url": "http://x/", "circles": ["A "]})
    assert list(one.for_circle("a")) == ["fixed", "secret"]
    assert list(one.for_circle("b")) == ["fixed"]
    with pytest.raises(Fault) as caught:
        one.get("secret", "b")
    assert "did you mean" not in caught.value.message
    with pytest.raises(SettingsError, match="remove it there"):
        one.remove("fixed")
