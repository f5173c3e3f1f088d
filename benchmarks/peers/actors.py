"""The jobs of the comparison as an actor of HeroJobs."""

from __future__ import annotations

from benchmarks.peers import marks
from herojobs.heroscript import action, actor


@actor("bench")
class Bench:
    """What `marks` does, by HeroScript."""

    @action
    def no_op(self) -> str:
        return marks.no_op()

    @action
    async def async_no_op(self) -> str:
        return await marks.async_no_op()

    @action
    async def async_wait(self) -> str:
        return await marks.async_wait()

    @action
    def cpu(self) -> str:
        return marks.cpu()
