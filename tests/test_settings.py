from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from herojobs.errors import SettingsError
from herojobs.service_settings import Service
from herojobs.settings import Settings, load, meanings


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


def test_a_mistyped_variable_is_told_and_others_are_left_alone(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="HEROJOBS_DEFAULT_TIMOUT: no such setting; did you mean HEROJOBS_DEFAULT_"):
        load({"HEROJOBS_DEFAULT_TIMOUT": "5"}, home=tmp_path)
    ours = {"HEROJOBS_WORKER": "1", "HEROJOBS_URL": "http://x", "HEROJOBS_SESSION_KEY": "k"}
    load({**ours, "HEROJOBS_COLOUR_OF_MY_OWN": "red"}, home=tmp_path)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "herojobs.toml").mkdir()
    with pytest.raises(SettingsError, match="can't be read: Is a directory"):
        load({}, home=tmp_path)


def test_every_setting_tells_its_meaning() -> None:
    for table in _tables(Settings):
        assert set(meanings(table)) == {field.name for field in msgspec.structs.fields(table)}


def test_services_are_tables(tmp_path: Path) -> None:
    (tmp_path / "herojobs.toml").write_text("[services.a]\nurl = 'http://x/rpc'\ncircles = ['c']\n")
    settings = load({"HEROJOBS_HOME": str(tmp_path)})
    assert settings.services == {"a": Service(url="http://x/rpc", circles=("c",))}
    again = load({"HEROJOBS_HOME": "/", "HEROJOBS_SERVICES": '{"b": {"url": "unix:/run/b.sock"}}'})
    assert again.services["b"].timeout == 30
    data = msgspec.msgpack.encode(settings, enc_hook=str)
    assert msgspec.msgpack.decode(data, type=Settings, dec_hook=lambda kind, value: kind(value)) == settings


AI = """
[ai]
model = "fast"
[ai.models.fast]
provider = "openai"
name = "gpt"
price = { input = 1, output = 2.5 }
fallback = ["local"]
[ai.daily."*"]
cost = 5
"""


def test_a_table_is_typed_down_to_its_leaves(tmp_path: Path) -> None:
    (tmp_path / "herojobs.toml").write_text(AI)
    ai = load({}, home=tmp_path).ai
    assert (ai.model, ai.models["fast"].name, ai.models["fast"].retries, ai.daily["*"].cost) == ("fast", "gpt", 3, 5.0)
    price = ai.models["fast"].price
    assert price is not None
    assert price.output == 2.5


def test_a_variable_sets_one_member_of_a_table(tmp_path: Path) -> None:
    (tmp_path / "herojobs.toml").write_text(AI)
    ai = load({"HEROJOBS_HOME": str(tmp_path), "HEROJOBS_AI_MODEL": "local"}).ai
    assert (ai.model, ai.models["fast"].name) == ("local", "gpt")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("provider", "provder", "ai.models.fast.provder: no such setting; did you mean 'provider'"),
        ('provider = "openai"', "", "ai.models.fast needs 'provider'"),
        ('name = "gpt"', "", "ai.models.fast: name: it is missing"),
        ('"gpt"', '"gpt"\nretries = "x"', "ai.models.fast.retries 'x'"),
        ('"gpt"', '"gpt"\noutput = "nativ"', "did you mean 'native'"),
        ('"gpt"', '"gpt"\napi_key = "sk-1"', "ai.models.fast: api_key: write env:VARIABLE"),
        ('"fast"', '"fats"', "ai: model: there is no model 'fats'; did you mean 'fast'"),
        ('["local"]', '["lokal"]', "ai: models.fast.fallback: there is no model 'lokal'"),
        ("cost = 5", "costs = 5", r"ai.daily.\*.costs: no such setting; did you mean 'cost'"),
    ],
)
def test_a_fault_in_a_table_is_told_with_its_place(tmp_path: Path, old: str, new: str, told: str) -> None:
    (tmp_path / "herojobs.toml").write_text(AI.replace(old, new, 1))
    with pytest.raises(SettingsError, match=told) as caught:
        load({}, home=tmp_path)
    assert "sk-1" not in str(caught.value)


def _tables(kind: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    yield kind
    for field in msgspec.structs.fields(kind):
        for one in (field.type, *get_args(field.type)):
            if isinstance(one, type) and issubclass(one, msgspec.Struct):
                yield from _tables(one)
