"""The mark of classes whose instances an action's parameter gets from the runner, never from the script."""


class Injected:
    """Base of what may be injected: a parameter annotated with a subclass is no param of the action."""

    __slots__ = ()
