from pathlib import Path

import msgspec
import pytest

from herojobs.errors import SettingsError
from herojobs.settings import Service, Settings, load


def test_defaults_need_nothing(tmp_path: Path) -> None:
    settings = load({"HEROJOBS_HOME": str(tmp_path)})
    assert settings.home == tmp_path
    assert settings.circles_dir == tmp_path / "var" / "circles"
    assert settings.sync == "interval"


def test_variables_count_before_the_file_and_arguments_before_both(tmp_path: Path) -> None:
    (tmp_path / "herojobs.toml").write_text('workers = 2\nlease = 30\nactors = ["a"]\n')
    environ = {"HEROJOBS_HOME": str(tmp_path), "HEROJOBS_WORKERS": "3", "HEROJOBS_ACTORS": "b.c, d"}
    settings = load(environ, lease=4.0)
    assert (settings.workers, settings.lease, settings.actors) == (3, 4.0, ("b.c", "d"))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("worker = 2", "did you mean 'workers'"),
        ('workers = "two"', "workers 'two'"),
        ('sync = "alwais"', "did you mean 'always'"),
        ("lease = 0", ">= 1"),
        ("lease = ", "herojobs.toml"),
        ("[services.a]\nurk = 'http://x'", r"services.a.urk: no such setting; did you mean 'url'"),
        ("[services.a]\ntimeout = 5", r"services.a needs 'url'"),
        ("[services.a]\nurl = 'http://x'\ntimeout = 'long'", r"services.a.timeout 'long'"),
        ("[services.a]\nurl = 'htp://x'", r"services.a: 'htp://x': no such scheme; did you mean 'http'"),
        ("[services.a]\nurl = 'http:///rpc'", "names no host"),
        ("[services.a]\nurl = 'http://me:secret@x/'", "host 'x' holds a user or password"),
        ("[services.a]\nurl = 'unix:sock'", "write unix:/path"),
        ("[services.a]\nurl = 'http://x:99999'", "is no URL"),
        ("services = 5", "services 5"),
    ],
)
def test_a_wrong_setting_in_the_file_is_told_with_its_place(tmp_path: Path, line: str, told: str) -> None:
    (tmp_path / "herojobs.toml").write_text(line)
    with pytest.raises(SettingsError, match=told) as caught:
        load({}, home=tmp_path)
    assert "herojobs.toml" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_wrong_variable_is_named() -> None:
    with pytest.raises(SettingsError, match="HEROJOBS_WORKERS 'x'"):
        load({"HEROJOBS_WORKERS": "x"})


def test_every_setting_tells_its_meaning() -> None:
    from herojobs.settings import meanings

    for table in (Settings, Service):
        assert set(meanings(table)) == {field.name for field in msgspec.structs.fields(table)}


def test_services_are_tables(tmp_path: Path) -> None:
    (tmp_path / "herojobs.toml").write_text("[services.a]\nurl = 'http://x/rpc'\ncircles = ['c']\n")
    settings = load({"HEROJOBS_HOME": str(tmp_path)})
    assert settings.services == {"a": Service(url="http://x/rpc", circles=("c",))}
    again = load({"HEROJOBS_HOME": "/", "HEROJOBS_SERVICES": '{"b": {"url": "unix:/run/b.sock"}}'})
    assert again.services["b"].timeout == 30
    data = msgspec.msgpack.encode(settings, enc_hook=str)
    assert msgspec.msgpack.decode(data, type=Settings, dec_hook=lambda kind, value: kind(value)) == settings
