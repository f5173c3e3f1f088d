"""Actors of your own: `herojobs dev --actors parcels`, started in this folder, and a script like parcels.hero."""

from herojobs.heroscript import ActionError, Context, action, actor


@actor
class Parcel:
    """Packs parcels and sends them."""

    @action
    def pack(self, name: str, pieces: int = 1, tags: list[str] | None = None) -> str:
        """Pack some pieces into a parcel."""
        if pieces < 1:
            raise ActionError("there is nothing to pack")
        return f"{name}: {pieces} pieces" + (f" ({', '.join(tags)})" if tags else "")

    @action
    def send(self, name: str, context: Context) -> None:
        """Send a parcel."""
        context.log(f"{name} is on its way")
