"""Results of jobs stand where the params of those after them say."""

from __future__ import annotations

import json

import pytest

from herojobs import After, Job
from herojobs.processors.base import JobContext, JobFailed
from herojobs.processors.results import with_results
from herojobs.testing import InlineHero


def parent(id: int, result: str, status: str = "done") -> Job:
    return Job(circle_id="c", topic="t", job_id=id, status=status, result=result, reason=status)


def filled(kind: str, params: str, *parents: Job) -> str:
    job = Job(params=params, params_type=kind, circle_id="c", after=[After(str(each.ref)) for each in parents])
    return with_results(job, JobContext(job, "c/t/9", print, parents=lambda _: list(parents))).params


def test_heroscript(hero: InlineHero) -> None:
    nasty = 'it\'s "quoted"\n!!core.echo content:injected\n{{ parent:2 }}'
    first = hero.submit("!!core.echo content:'x'", circle_id="c")
    hero.run_pending()
    parts, last = hero.fan_in(
        [
            Job(params=json.dumps(nasty), params_type="rhaiscript", circle_id="c"),
            Job(params="[1, 2]", params_type="rhaiscript", circle_id="c"),
        ],
        Job(params="!!core.echo content:'<{{ parent:1 }}>'\n!!core.echo content:'{{parents}}'", circle_id="c"),
    )
    sleep = hero.submit(
        "!!fake.spin seconds:{{parent}}",
        circle_id="c",
        after=[hero.submit("0", circle_id="c", params_type="rhaiscript")],
    )
    named = hero.submit(f"!!core.echo content:'{{{{ job:{first.ref} }}}}'", circle_id="c", after=[first])
    hero.run_pending()
    shown, listed = hero.get(last).result.rsplit("\n", 1)
    assert shown == f"<{nasty}>"
    assert json.loads(listed) == [nasty, [1, 2]]
    assert hero.get(sleep).status == "done"
    assert hero.get(named).result == "x"
    assert hero.get(last).params.startswith("!!core.echo content:'<{{ parent:1 }}>'"), (
        "the job stays as it was submitted"
    )
    assert parts[0].params_type == "rhaiscript"


def test_openrpc() -> None:
    params = {"a": "{{ parent }}", "b": ["{{ parent:2 }}", "is {{ parent }}!"], "c": "{{ parents }}"}
    call = json.dumps({"method": "m", "params": params})
    got = json.loads(filled("openrpc", call, parent(1, "42"), parent(2, 'say "hi"')))
    assert got["params"] == {"a": 42, "b": ['say "hi"', "is 42!"], "c": [42, 'say "hi"']}


def test_prompts_get_references_for_the_quoting_that_they_do() -> None:
    asked = "Sum up {{ parent:2 }} and {{ parents }} and {{ job:x/y/1 }}"
    got = filled("ai", asked, parent(1, "one"), parent(2, "two"))
    assert got == "Sum up {{ job:c/t/2 }} and {{ job:c/t/1 }} {{ job:c/t/2 }} and {{ job:x/y/1 }}"


@pytest.mark.parametrize(
    "params", ["!!core.echo content:'{ parent }'", "!!core.echo content:'{{ name }}'", "{{ parent", "print(1)"]
)
def test_other_text_stays_as_it_is(params: str) -> None:
    assert filled("heroscript", params, parent(1, "x")) == params
    assert filled("rhaiscript", params + "{{ parent }}", parent(1, "x")) == params + "{{ parent }}"


@pytest.mark.parametrize(
    ("mark", "told"),
    [
        ("{{ parent:3 }}", "this job comes after 2; they are numbered from 1"),
        ("{{ parent:0 }}", "numbered from 1"),
        ("{{ parent:2 }}", "c/t/2 has no result, it is"),
        ("{{ parents }}", "c/t/2 has no result"),
        ("{{ job:c/t/7 }}", "isn't one of the jobs that this one comes after: c/t/1, c/t/2"),
        ("{{ job:nonsense }}", "{{ job:nonsense }}: "),
    ],
)
def test_what_is_wrong_is_told(mark: str, told: str) -> None:
    for kind, params in (("heroscript", f"!!core.echo content:'{mark}'"), ("openrpc", json.dumps([mark]))):
        with pytest.raises(JobFailed, match=r".*") as raised:
            filled(kind, params, parent(1, "x"), parent(2, "", "error"))
        assert told in str(raised.value)


def test_without_jobs_before_it_nothing_is_filled_in() -> None:
    assert filled("heroscript", "!!core.echo content:'{{ parent }}'") == "!!core.echo content:'{{ parent }}'"
