from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, TypedDict, final

BYTECODE: bool
"""Whether this build has Rhai's bytecode VM (cargo feature ``grain``)."""

class _Param(TypedDict):
    name: str
    type: str

class _Function(TypedDict):
    name: str
    namespace: str
    signature: str
    params: list[_Param]
    returns: str
    doc: str
    origin: str

@final
class Limits:
    """What a run may use, and what an engine keeps.

    Args:
        memory: Bytes that a run may have allocated at once (64 KiB to 1 PiB). One doubling can overshoot.
            A run that passes it ends with the kind ``memory``.
        max_operations: Expressions, statements, loop turns and calls a run; 0 for no limit (the deadline
            rules). Calls through function pointers count too.
        max_call_levels: Nested calls of script functions (1 to 100,000). The thread's stack is a limit
            of its own, with the same kind ``stack_overflow``.
        max_expr_depth: Nesting of expressions outside of functions (1 to 256).
        max_function_expr_depth: The same within functions.
        max_variables: Variables of a script at once; 0 for none.
        max_functions: Functions that a script defines; 0 for none.
        max_modules: Modules that a run imports.
        max_string_size: Bytes of a string; 0 for no limit. Setting one of the three sizes makes Rhai add
            up whole values at each change, so that building an array takes quadratic time.
        max_array_size: Elements of an array or blob, nested ones included; 0 for no limit.
        max_map_size: Entries of a map, nested ones included; 0 for no limit.
        max_script_size: Bytes of a script's or module's text.
        max_output: Bytes of output that a run keeps; a last line tells how much was dropped.
        cache_scripts: Compiled scripts that the engine keeps; 0 keeps none.
        cache_bytes: Bytes that they may hold together.

    Raises:
        ValueError: A limit outside of its range.
    """

    memory: int
    max_operations: int
    max_call_levels: int
    max_expr_depth: int
    max_function_expr_depth: int
    max_variables: int
    max_functions: int
    max_modules: int
    max_string_size: int
    max_array_size: int
    max_map_size: int
    max_script_size: int
    max_output: int
    cache_scripts: int
    cache_bytes: int
    def __init__(
        self,
        *,
        memory: int = 268435456,
        max_operations: int = 0,
        max_call_levels: int = 64,
        max_expr_depth: int = 64,
        max_function_expr_depth: int = 32,
        max_variables: int = 10000,
        max_functions: int = 10000,
        max_modules: int = 100,
        max_string_size: int = 0,
        max_array_size: int = 0,
        max_map_size: int = 0,
        max_script_size: int = 1048576,
        max_output: int = 1048576,
        cache_scripts: int = 256,
        cache_bytes: int = 33554432,
    ) -> None: ...
    def __eq__(self, other: object) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Script:
    """A script that parsed, to be run any number of times, on any thread."""

    @property
    def name(self) -> str:
        """The name that errors show."""
    @property
    def text(self) -> str:
        """The script itself."""
    @property
    def functions(self) -> list[str]:
        """Signatures of the functions that the script defines, sorted."""

@final
class RhaiFunction:
    """A function pointer or closure of a script.

    Callable while its run goes on, on the run's thread: from the Python function that it was handed to,
    or from one called later in the run. After that only its name is left.
    """

    @property
    def name(self) -> str:
        """The function's name in the script; a closure's is made up by Rhai."""
    def __call__(self, *args: Any) -> Any:
        """Calls it.

        Raises:
            RuntimeError: The run is over, or this isn't its thread.
            RhaiError: The function failed.
        """

@final
class Run:
    """One run of a script, made by ``RhaiEngine.run``. Every method may be called from any thread."""

    def result(self) -> Any:
        """Evaluates on this thread and returns the script's value; later calls give the same again.

        Python code of other threads goes on meanwhile. Another thread that calls this waits for the one
        that evaluates. On the main thread signal handlers run within a fraction of a second, and an
        exception that one raises (``KeyboardInterrupt``) ends the run and is raised from here.

        Raises:
            RhaiError: The script failed or was ended.
        """
    def stop(self, reason: str = "stopped") -> bool:
        """Ends the run: its result is a ``RhaiError`` of kind ``terminated`` with this reason.

        A run that hasn't started yet ends when it does.

        Returns:
            True if this is what ends the run, False if it was over or ended by something else before.
        """
    @property
    def output(self) -> str:
        """Everything printed so far, a line each, at any time."""
    def drain_output(self) -> str:
        """What was printed since the last call: for handing output on while the script runs."""
    @property
    def operations(self) -> int:
        """Operations made so far."""
    @property
    def over(self) -> bool:
        """Whether the result is there."""
    @property
    def scope(self) -> dict[str, Any]:
        """The variables: as given before the run, as the script left them after it.

        Raises:
            RuntimeError: The script is running.
            TypeError: A variable has no form in Python.
        """

@final
class RhaiEngine:
    """The Rhai language, bounded in time and memory. Build it once and share it between threads.

    Args:
        functions: Python callables by the name that scripts know them by, ``name`` or
            ``namespace::name``. They take positional arguments, and win over Rhai's own.
        modules: Folder that ``import`` finds scripts in; None for no imports.
        limits: What runs may use; None for the defaults.
        bytecode: Compile scripts for Rhai's bytecode VM, which is experimental.

    Raises:
        TypeError: A function is a coroutine function or needs keyword arguments.
        ValueError: A name that no function can have, a folder that isn't there, or ``bytecode`` in a build
            without it.
    """

    def __init__(
        self,
        functions: dict[str, Callable[..., Any]] | None = None,
        modules: str | PathLike[str] | None = None,
        limits: Limits | None = None,
        *,
        bytecode: bool = False,
    ) -> None: ...
    def compile(self, text: str, name: str = "script") -> Script:
        """Parses a script without running it, or finds it among those parsed before.

        Args:
            text: The script.
            name: What errors call it.

        Raises:
            RhaiError: It doesn't parse (kind ``parsing``) or is too long (``data_too_large``).
        """
    def run(
        self,
        script: str | Script,
        scope: dict[str, Any] | None = None,
        deadline: float | None = None,
        *,
        function: str | None = None,
        args: Sequence[Any] | None = None,
    ) -> Run:
        """Prepares a run; nothing is evaluated before ``Run.result``.

        Args:
            script: A script or its text.
            scope: Variables that the script starts with.
            deadline: Seconds from the start of the evaluation, after which it is stopped with the reason
                "timeout".
            function: Function of the script to call once the script was run; its value is the result.
            args: Arguments of that function.

        Raises:
            RhaiError: The script doesn't parse.
            TypeError: A value of the scope or an argument has no form in Rhai; the message tells where.
            OverflowError: An int outside of 64 bits, a Decimal of more than 28 digits.
            ValueError: Values nested more than 128 deep.
        """
    def eval(self, script: str | Script, scope: dict[str, Any] | None = None, deadline: float | None = None) -> Any:
        """Runs a script and returns its value: ``run(...).result()``."""
    def call(
        self,
        script: str | Script,
        function: str,
        args: Sequence[Any] | None = None,
        *,
        scope: dict[str, Any] | None = None,
        deadline: float | None = None,
    ) -> Any:
        """Runs a script, calls a function that it defines, and returns the function's value."""
    def functions(self) -> list[_Function]:
        """The functions that a script can call, Python's (``origin`` "python") before Rhai's ("rhai")."""
    @property
    def limits(self) -> Limits:
        """The limits that runs have."""
    @property
    def bytecode(self) -> bool:
        """Whether scripts are compiled for the bytecode VM."""
    @property
    def cached(self) -> tuple[int, int]:
        """Compiled scripts held, and the bytes that they hold."""
