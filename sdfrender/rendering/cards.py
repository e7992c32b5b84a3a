"""Whether a card can be used, for those who ask before they render."""

from __future__ import annotations

from sdfrender.engines.cuda.available import obstacle


def card_obstacle() -> str | None:
    """Why no NVIDIA card can be used here, and what to do; None if torch's current one can."""
    return obstacle()
