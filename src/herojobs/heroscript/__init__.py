"""HeroScript: the language, and a framework for actors that run it.

    from herojobs.heroscript import PlayBook, Registry, bind

    registry = Registry("myapp.actors")            # module names, modules, classes, instances, functions
    playbook = PlayBook.parse(text, strict=True)   # raises HeroScriptError
    bound = bind(playbook, registry)               # raises HeroScriptError; nothing has run then
    bound.is_async                                 # all actions are asynchronous
    result = bound.run(context)                    # text; raises HeroScriptError (code "failed")
    result = await bound.run_async(context)

An actor, in a module of the user's:

    from herojobs.heroscript import Context, action, actor

    @actor
    class Parcel:
        @action
        def pack(self, name: str, pieces: int = 1) -> str:
            return f"{name}: {pieces}"

        @action
        async def send(self, name: str, context: Context) -> None:
            context.log(f"sending {name}")

Execution in full:

    Registry(*sources, entry_points=False, builtin=True); .add(source); .limited(names) -> Registry; .help(actor="");
        .actors -> dict[str, Actor]; Actor.name .doc .summary .actions (dict of Handler: .full_name .signature .summary)
    bind(playbook, registry, *, include_root=None) -> BoundScript
    check(text, registry, *, include_root=None, path="") -> list[HeroScriptError]
    BoundScript.run(context=None, loop=None, *, mark=True) -> str       `loop` runs the asynchronous actions
    BoundScript.run_async(context=None, *, mark=True) -> str            synchronous actions run in a thread
    BoundScript.is_async, .shareable, .steps, .actions, .playbook
    ScriptCache(registry, ...).get(text) -> BoundScript                 parses and binds a repeated script once;
                                                                        run what it gives with mark=False
    Context: log(message, level="info"), progress(done, total=1.0, message=""), cancelled, extra, results,
        checkpoint() called between two actions; make a subclass. `context.results` holds the texts of the actions
        that finished, also when an interrupt (any BaseException) ends the script; such pass through unchanged.
    HeroScriptError: .line .column .code .message .path .further .action .result, .show(source)
    ActionError: raise it in an action to fail with just a message.
"""

from herojobs.heroscript.action import Action
from herojobs.heroscript.actors import ActionError, action, actor
from herojobs.heroscript.binding import bind, check
from herojobs.heroscript.cache import ScriptCache
from herojobs.heroscript.context import Context
from herojobs.heroscript.errors import HeroScriptError
from herojobs.heroscript.execution import BoundScript
from herojobs.heroscript.names import name_fix
from herojobs.heroscript.params import Param, Params
from herojobs.heroscript.parser import Note
from herojobs.heroscript.playbook import PlayBook
from herojobs.heroscript.registry import Registry
from herojobs.heroscript.values import BadValue, Money, Size

__all__ = [
    "Action",
    "ActionError",
    "BadValue",
    "BoundScript",
    "Context",
    "HeroScriptError",
    "Money",
    "Note",
    "Param",
    "Params",
    "PlayBook",
    "Registry",
    "ScriptCache",
    "Size",
    "action",
    "actor",
    "bind",
    "check",
    "name_fix",
]
