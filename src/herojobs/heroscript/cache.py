"""A repeated script isn't parsed and bound again."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from herojobs.heroscript.binding import bind
from herojobs.heroscript.execution import BoundScript
from herojobs.heroscript.playbook import PlayBook
from herojobs.heroscript.registry import Registry
from herojobs.heroscript.source import MAX_SIZE


class ScriptCache:
    """Bound scripts by their text, those that were used last. For one thread.

    A script that reads files or sees its playbook's state is bound anew each time. What is kept is shared by all its
    runs, so run it with `mark=False`.

    Args:
        registry: the actors that scripts may use.
        include_root: folder that `play.include` may read; None if it may not.
        max_scripts: most scripts that are kept.
        max_bytes: most characters of text that are kept, all scripts together; what is parsed takes about ten times
            as many bytes of memory.
        max_size: longest script in bytes.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        include_root: Path | str | None = None,
        max_scripts: int = 1024,
        max_bytes: int = 4 * 1024 * 1024,
        max_size: int = MAX_SIZE,
    ) -> None:
        self.registry = registry
        self._include_root = include_root
        self._max_scripts = max_scripts
        self._max_bytes = max_bytes
        self._max_size = max_size
        self._bound: OrderedDict[str, BoundScript] = OrderedDict()
        self._bytes = 0

    def get(self, text: str) -> BoundScript:
        """Return a script ready to run.

        Raises:
            HeroScriptError: it is wrong; errors aren't kept.
        """
        bound = self._bound.get(text)
        if bound is not None:
            self._bound.move_to_end(text)
            return bound
        playbook = PlayBook.parse(text, strict=True, max_size=self._max_size)
        bound = bind(playbook, self.registry, include_root=self._include_root)
        if len(text) <= self._max_bytes and bound.shareable:
            self._bound[text] = bound
            self._bytes += len(text)
            while len(self._bound) > self._max_scripts or self._bytes > self._max_bytes:
                oldest, _ = self._bound.popitem(last=False)
                self._bytes -= len(oldest)
        return bound

    def __len__(self) -> int:
        return len(self._bound)
