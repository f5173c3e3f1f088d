"""One action of a script (HeroScript 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from herojobs.heroscript.errors import HeroScriptError
from herojobs.heroscript.injected import Injected
from herojobs.heroscript.params import Param, Params

if TYPE_CHECKING:
    from herojobs.heroscript.source import Source

ActionType = Literal["dal", "sal", "macro", "wal"]
TYPES: tuple[ActionType, ...] = ("dal", "sal", "macro", "wal")
"""The four types of actions; the first is written with one `!`, the last with four."""


class Action(Injected):
    """An action: what to do, and with what.

    Attributes:
        actor: the fixed name of who does it.
        name: the fixed name of what is done.
        type: `dal`, `sal`, `macro` or `wal`.
        id: its number in the playbook, from 1.
        id_param: the param `id` as written, which isn't among `params`, or None.
        priority: 50 unless the playbook was sorted.
        comments: the comment above it.
        params: its params.
        done: whether it was processed.
        result: outputs.
        position: where its line starts in the source.
    """

    __slots__ = (
        "_result",
        "actor",
        "comments",
        "done",
        "id",
        "id_param",
        "name",
        "params",
        "position",
        "priority",
        "source",
        "type",
    )

    def __init__(
        self,
        actor: str,
        name: str,
        type: ActionType = "sal",  # noqa: A002 -- the language's word for it
        params: Params | None = None,
        *,
        comments: str = "",
        id_param: Param | None = None,
        id: int = 1,
        source: Source | None = None,
        position: int = -1,
    ) -> None:
        self.actor = actor
        self.name = name
        self.type = type
        self.id = id
        self.id_param = id_param
        self.priority = 50
        self.comments = comments
        self.params = Params() if params is None else params
        self.done = False
        self.source = source
        self.position = position
        self._result: Params | None = None

    @property
    def result(self) -> Params:
        """Outputs of the action; made at first use, since most actions have none."""
        if self._result is None:
            self._result = Params()
        return self._result

    @result.setter
    def result(self, result: Params) -> None:
        self._result = result

    @property
    def given_id(self) -> str | None:
        """The value of `id:` as written, or None."""
        return None if self.id_param is None else self.id_param.value

    @property
    def line(self) -> int:
        """The line of the script it starts in, from 1; 0 if it is from no text."""
        return self.source.locate(self.position)[0] if self.source else 0

    @property
    def name_position(self) -> int:
        """Where its name is in the source."""
        return self.position + TYPES.index(self.type) + 1 if self.source else -1

    @property
    def full_name(self) -> str:
        """`actor.name`."""
        return f"{self.actor}.{self.name}"

    def error(self, code: str, message: str, position: int = -1) -> HeroScriptError:
        """Return an error at a position in this action's source, by default at the action itself."""
        if self.source is None:
            return HeroScriptError(0, 0, code, message)
        return self.source.error(self.position if position < 0 else position, code, message)

    def __repr__(self) -> str:
        return f"<Action {self.id} {self.full_name}>"
