"""What the shop's jobs can do."""

from __future__ import annotations

from herojobs.heroscript import ActionError, Context, action, actor


def courier_available() -> bool:
    """Ask the courier; tests replace this."""
    return True


@actor
class Parcel:
    """Packs orders."""

    @action
    def pack(self, order: int, context: Context) -> str:
        """Pack an order and call the courier."""
        context.log(f"packing order {order}")
        if not courier_available():
            raise ActionError("no courier comes today")
        return f"order {order} is packed"


@actor
class Mail:
    """Writes to customers."""

    @action
    def ask_opinion(self, to: str, order: int) -> str:
        """Ask how they like what they got."""
        return f"asked {to} about order {order}"
