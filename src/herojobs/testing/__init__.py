"""For the tests of programs that submit jobs or have actors: a pytest plug-in, see docs/testing.md.

The plug-in is there once HeroJobs is installed, and does nothing until a test asks for one of its fixtures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from herojobs.testing.clock import FakeClock
    from herojobs.testing.inline import InlineHero

__all__ = ["FakeClock", "InlineHero"]


def __getattr__(name: str) -> Any:
    # pytest imports this package at every start, with or without tests that need it.
    if name == "FakeClock":
        from herojobs.testing.clock import FakeClock

        return FakeClock
    if name == "InlineHero":
        from herojobs.testing.inline import InlineHero

        return InlineHero
    raise AttributeError(f"module 'herojobs.testing' has no attribute {name!r}")
