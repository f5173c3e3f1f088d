"""The Rhai engine: scripts of other people, detached from the interpreter and bounded in time and memory."""

from herojobs_rhai._error import Frame, RhaiError
from herojobs_rhai._native import BYTECODE, Limits, RhaiEngine, RhaiFunction, Run, Script

__all__ = ["BYTECODE", "Frame", "Limits", "RhaiEngine", "RhaiError", "RhaiFunction", "Run", "Script"]
