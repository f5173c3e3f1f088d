"""Results of the jobs that a job came after, in the places that its params name.

`{{ parent }}` and `{{ parent:1 }}` stand for the result of the first job in `after`, `{{ parent:2 }}` for the second
one's, `{{ parents }}` for all as a JSON array, `{{ job:REF }}` for the one with that reference. They are filled in when
the params have been parsed, so that a result is always a value, whatever stands in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from herojobs.errors import HeroJobsError
from herojobs.job import Job
from herojobs.names import Ref
from herojobs.processors.base import JobContext, JobFailed

_MARK = re.compile(r"\{\{\s*(?:(?P<all>parents)|parent(?::\s*(?P<place>\d{1,5}))?|job:\s*(?P<ref>[^{}\s]+))\s*\}\}")


def with_results(job: Job, context: JobContext) -> Job:
    """Return a job with results filled in; the same one if its params name none. Scripts in Rhai call `parents()`.

    Raises:
        JobFailed: there is no such job in `after`, or it has no result.
    """
    fill = _FORMS.get(job.params_type)
    if not job.after or fill is None or not _MARK.search(job.params):
        return job
    return msgspec.structs.replace(job, params=fill(job.params, _Results(job, context)))


class _Results:
    def __init__(self, job: Job, context: JobContext) -> None:
        self._job = job
        self._context = context

    def ref(self, mark: re.Match[str]) -> str:
        """Return the reference of the one job that a mark names; a reference is returned whatever it names."""
        if mark["ref"]:
            return mark["ref"]
        return self._job.after[self._place(mark)].ref

    def refs(self) -> list[str]:
        """Return the references of all."""
        return [each.ref for each in self._job.after]

    def text(self, mark: re.Match[str]) -> str:
        """Return what stands for a mark in the middle of other text."""
        if mark["all"]:
            return msgspec.json.encode(self.value(mark)).decode()
        return self._of(self._context.parents[self._place(mark)], mark)

    def value(self, mark: re.Match[str]) -> Any:
        """Return what stands for a mark that is all there is: what its JSON says, if the result is JSON."""
        if mark["all"]:
            return [_value(self._of(parent, mark)) for parent in self._context.parents]
        return _value(self.text(mark))

    def _place(self, mark: re.Match[str]) -> int:
        count = len(self._job.after)
        if mark["ref"]:
            try:
                wanted = str(Ref.parse(mark["ref"]))
            except HeroJobsError as e:
                raise JobFailed(f"{mark[0]}: {e}") from None
            for place, each in enumerate(self._job.after):
                if each.ref == wanted:
                    return place
            raise JobFailed(
                f"{mark[0]}: it isn't one of the jobs that this one comes after: {', '.join(self.refs()[:5])}"
            )
        place = int(mark["place"] or 1)
        if not 1 <= place <= count:
            raise JobFailed(f"{mark[0]}: this job comes after {count}; they are numbered from 1")
        return place - 1

    def _of(self, parent: Job, mark: re.Match[str]) -> str:
        if parent.status != "done":
            raise JobFailed(f"{mark[0]}: {parent.ref} has no result, it is {parent.explain_end() or parent.status}")
        return parent.result


def _in_heroscript(params: str, results: _Results) -> str:
    from herojobs.heroscript import HeroScriptError, PlayBook

    try:
        playbook = PlayBook.parse(params, strict=True)
    except HeroScriptError:
        return params  # the processor tells, with the place in what was submitted
    for action in playbook.actions:
        for param in action.params.table.values():
            param.value = _MARK.sub(results.text, param.value)
            param.items = param.items and [_MARK.sub(results.text, item) for item in param.items]
        action.params.args = [_MARK.sub(results.text, arg) for arg in action.params.args]
    return playbook.regenerate()


def _in_json(params: str, results: _Results) -> str:
    def filled(found: Any) -> Any:
        if isinstance(found, str):
            whole = _MARK.fullmatch(found)
            return results.value(whole) if whole else _MARK.sub(results.text, found)
        if isinstance(found, list):
            return [filled(each) for each in found]
        if isinstance(found, dict):
            return {name: filled(each) for name, each in found.items()}
        return found

    try:
        found = msgspec.json.decode(params)
    except (msgspec.DecodeError, RecursionError):
        return params  # as above
    return msgspec.json.encode(filled(found)).decode()


def _in_prompt(params: str, results: _Results) -> str:
    """Name the jobs by their references: prompts have results quoted as data."""

    def named(mark: re.Match[str]) -> str:
        refs: Sequence[str] = results.refs() if mark["all"] else [results.ref(mark)]
        return " ".join(f"{{{{ job:{ref} }}}}" for ref in refs)

    return _MARK.sub(named, params)


_FORMS: dict[str, Callable[[str, _Results], str]] = {
    "heroscript": _in_heroscript,
    "openrpc": _in_json,
    "ai": _in_prompt,
}


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text
