"""The original's own test cases, where the folder that holds them is there."""

from __future__ import annotations

import json
from dataclasses import make_dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from herojobs.heroscript import Action, HeroScriptError, Params, PlayBook, Registry, bind, name_fix
from herojobs.heroscript.writer import action_text, export_items, export_one_line

VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors" / "heroscript.json"

if not VECTORS.is_file():
    pytest.skip("the original's test cases aren't here", allow_module_level=True)

CASES = [case for case in json.loads(VECTORS.read_text("utf-8")) if case.get("recommended", True)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["source"].rpartition("/")[2].replace("::", ":"))
def test_case(case: dict[str, Any], tmp_path: Path) -> None:
    # The files that some cases make stay in the test's own folder.
    case = json.loads(json.dumps(case).replace("/tmp/", f"{tmp_path}/"))
    expect = case["recommended"] if case.get("dubious") else case["expect"]
    for path in [expect["setup"]["create_file"]] if "setup" in expect else []:
        Path(path).touch()
    if expect.get("error"):
        with pytest.raises(HeroScriptError):
            subject(case)
        return
    known = {name: check for name, check in globals().items() if name.startswith("check_") and callable(check)}
    target = subject(case)
    for name, value in expect.items():
        if name in ("setup", "export_pre"):
            continue
        if name == "export_sha256":
            assert digest(target.export(pre=expect.get("export_pre", ""))) == value
            continue
        known["check_" + name](target, value)


def subject(case: dict[str, Any]) -> Any:
    match case["kind"]:
        case "playbook":
            return PlayBook.parse(case["script"])
        case "params":
            return Params.parse(case["script"])
        case "value":
            params = Params()
            for key, value in case["given"]["params"].items():
                params.set(key, value)
            for arg in case["given"].get("args", []):
                params.set_arg(arg)
            return params
        case "execute":
            return execute(case["script"])
        case _:
            return case["script"]


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


# Params


def check_params(params: Params, value: dict[str, str]) -> None:
    assert dict(params.items()) == value


def check_params_subset(params: Params, value: dict[str, str]) -> None:
    assert {key: params.get(key) for key in value} == value


def check_param_order(params: Params, value: list[str]) -> None:
    assert params.keys() == value


def check_params_count(params: Params, value: int) -> None:
    assert len(params) == value


def check_args(params: Params, value: list[str]) -> None:
    assert params.args == value


def check_args_count(params: Params, value: int) -> None:
    assert len(params.args) == value


def check_param_comments(target: Params | PlayBook, value: dict[str, str]) -> None:
    params = target.actions[0].params if isinstance(target, PlayBook) else target
    assert {key: param.comment for key, param in params.table.items() if param.comment} == value


def check_arg_comments(params: Params, value: list[str]) -> None:
    assert params.comments == value


def check_exists(params: Params, value: dict[str, bool]) -> None:
    assert {key: params.exists(key) for key in value} == value


def check_exists_arg(params: Params, value: dict[str, bool]) -> None:
    assert {arg: params.exists_arg(arg) for arg in value} == value


def check_param_contains(params: Params, value: dict[str, list[str]]) -> None:
    for key, texts in value.items():
        for text in texts:
            assert text in params.get(key)


def check_filter_match(params: Params, value: dict[str, Any]) -> None:
    assert params.filter_match(value["include"], value["exclude"]) is value["value"]


def check_ops(params: Params, value: list[dict[str, Any]]) -> None:
    for op in value:
        match op["op"]:
            case "set":
                params.set(op["key"], op["value"])
            case "set_arg":
                params.set_arg(op["value"])
            case "merge":
                params.merge(Params.parse(op["value"]))
        for name in ("params_count", "args_count"):
            if name in op:
                globals()["check_" + name](params, op[name])


def check_replace(params: Params, value: dict[str, str]) -> None:
    params.replace(value)


def check_replace_from_params(params: Params, value: str) -> None:
    params.replace(Params.parse(value))


def check_getters(params: Params, value: list[dict[str, Any]]) -> None:
    for one in value:
        getter = getattr(params, one["getter"])
        given = [one[name] for name in ("key", "nr", "count", "default", "map") if name in one]
        if one.get("error"):
            with pytest.raises(HeroScriptError):
                getter(*given)
            continue
        began = datetime.now(UTC)
        check_value(getter(*given), one, began)


def check_value(got: Any, one: dict[str, Any], began: datetime) -> None:
    if "relative_seconds" in one:
        from_then, from_now = ((got - each).total_seconds() for each in (began, datetime.now(UTC)))
        assert from_now - 1 < one["relative_seconds"] < from_then + 1  # times may be cut to whole seconds
    elif "unix" in one:
        assert got.timestamp() == one["unix"]
    elif "currency" in one:
        assert (got.currency, float(got.amount)) == (one["currency"], one["amount"])
    else:
        wanted = one["value"]
        got = str(got) if isinstance(got, Path) else got
        numbers = isinstance(got, float) or (isinstance(got, list) and all(isinstance(one, float) for one in got))
        assert got == (pytest.approx(wanted, rel=1e-6) if numbers else wanted)
        assert isinstance(got, bool) == isinstance(wanted, bool)


def check_export(params: Params, value: str) -> None:
    assert params.export() == value


def check_export_trimmed(params: Params, value: str) -> None:
    assert params.export().strip() == value


def check_export_oneline_sha256(params: Params, value: str) -> None:
    assert digest(export_one_line(params)) == value


def check_hexhash(params: Params, value: str) -> None:
    assert params.hexhash() == value


def check_export_items(params: Params, value: dict[str, Any]) -> None:
    items = export_items(params, **value["options"])
    assert [item.key for item in items] == value["keys"]
    assert len(items) == value["count"]
    assert (items[0].key == "") is value["first_is_comment"]
    assert [item.key for item in items if item.key and not item.first_line] == value["not_on_first_line"]


# Structs

KINDS: dict[str, Any] = {
    "str": str,
    "str?": (str | None, None),
    "time": datetime,
    "int": int,
    "bool": bool,
    "list[str]": list[str],
    "list[int]": list[int],
    "list[bool]": list[bool],
    "list[u32]": list[int],
}


def struct(fields: dict[str, Any]) -> type:
    required, optional = [], []
    for name, kind in fields.items():
        if isinstance(kind, dict):
            required.append((name, struct(kind)))
        elif kind.endswith("?"):
            optional.append((name, *KINDS[kind]))
        else:
            required.append((name, KINDS[kind]))
    return make_dataclass("Decoded", [*required, *optional])


def made(fields: dict[str, Any], value: dict[str, Any]) -> Any:
    values = {}
    for name, kind in fields.items():
        one = value[name]
        if isinstance(kind, dict):
            one = made(kind, one)
        elif kind == "time":
            one = datetime.fromisoformat(one).replace(tzinfo=UTC)
        values[name] = one
    return struct(fields)(**values)


def as_dict(value: Any) -> dict[str, Any]:
    result = {}
    for name, one in vars(value).items():
        if hasattr(one, "__dataclass_fields__"):
            one = as_dict(one)
        elif isinstance(one, datetime):
            one = one.strftime("%Y-%m-%d")
        result[name] = one
    return result


def check_decode(params: Params, value: dict[str, Any]) -> None:
    assert as_dict(params.decode(struct(value["fields"]))) == value["value"]


def check_encode(params: Params, value: dict[str, Any]) -> None:
    assert dict(Params.encode(made(value["fields"], value["value"])).items()) == value["params"]


# Playbooks


def check_action(action: Action, value: dict[str, Any]) -> None:
    for name, wanted in value.items():
        if name in ("actor", "name", "type", "id", "comments"):
            assert getattr(action, name) == wanted
        else:
            globals()["check_" + name](action.params, wanted)


def check_actions(playbook: PlayBook, value: list[dict[str, Any]]) -> None:
    assert len(playbook.actions) == len(value)
    for action, wanted in zip(playbook.actions, value, strict=True):
        check_action(action, wanted)


def check_actions_at(playbook: PlayBook, value: dict[str, dict[str, Any]]) -> None:
    for number, wanted in value.items():
        check_action(playbook.actions[int(number)], wanted)


def check_actions_count(playbook: PlayBook, value: int) -> None:
    assert len(playbook.actions) == value


def check_names(playbook: PlayBook, value: list[str]) -> None:
    assert [action.name for action in playbook.actions] == value


def check_action_getters(playbook: PlayBook, value: dict[str, list[dict[str, Any]]]) -> None:
    for number, getters in value.items():
        check_getters(playbook.actions[int(number)].params, getters)


def check_find(playbook: PlayBook, value: list[dict[str, Any]]) -> None:
    for one in value:
        found = [action.name for action in playbook.find(one["filter"])]
        assert found == one.get("names", found)
        assert len(found) == one.get("count", len(found))


def check_filtersort(playbook: PlayBook, value: dict[str, Any]) -> None:
    playbook.filtersort({int(priority): names for priority, names in value["priorities"].items()})
    assert [f"{action.actor}:{action.name}" for action in playbook.actions_sorted()] == value["sorted"]
    for priority, count in value["count_at"].items():
        assert sum(action.priority == int(priority) for action in playbook.actions) == count


def check_canonical(playbook: PlayBook, value: str) -> None:
    assert playbook.canonical() == value


def check_canonical_sha256(playbook: PlayBook, value: str) -> None:
    assert digest(playbook.canonical()) == value


def check_canonical_action_trimmed(playbook: PlayBook, value: dict[str, str]) -> None:
    for number, text in value.items():
        assert action_text(playbook.actions[int(number)]).strip() == text


def check_hash(playbook: PlayBook, value: str) -> None:
    assert playbook.hash() == value


def check_hash_after_regenerate(playbook: PlayBook, value: str) -> None:
    assert PlayBook.parse(playbook.regenerate()).hash() == value
    assert PlayBook.parse(playbook.canonical()).hash() == value


def check_regenerate_parses_same(playbook: PlayBook, value: bool) -> None:
    again = PlayBook.parse(playbook.regenerate())
    facts = [[(one.actor, one.name, sorted(one.params.items())) for one in book.actions] for book in (playbook, again)]
    assert facts[0] == facts[1]


# Names and execution


def check_name_fix(script: str, value: str) -> None:
    assert name_fix(script) == value


def execute(script: str) -> tuple[str, str]:
    try:
        return "done", bind(PlayBook.parse(script, strict=True), Registry()).run()
    except HeroScriptError as error:
        return "error", str(error)


def check_status(job: tuple[str, str], value: str) -> None:
    assert job[0] == value


def check_result(job: tuple[str, str], value: str) -> None:
    assert job[1] == value


def check_result_json(job: tuple[str, str], value: Any) -> None:
    assert json.loads(job[1]) == value


def check_result_is_json(job: tuple[str, str], value: bool) -> None:
    try:
        json.loads(job[1])
    except ValueError:
        assert not value
    else:
        assert value


def check_result_lines(job: tuple[str, str], value: int) -> None:
    assert job[1].count("\n") + 1 == value


def check_result_lines_max(job: tuple[str, str], value: int) -> None:
    assert job[1].count("\n") + 1 <= value


def check_result_contains(job: tuple[str, str], value: list[str]) -> None:
    assert all(text in job[1] for text in value)


check_error_contains = lambda job, value: check_result_contains(job, [value])  # noqa: E731 -- the same by another name
