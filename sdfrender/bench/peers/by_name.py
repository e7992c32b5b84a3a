"""Other ways to render, beside which the engines are timed."""

from __future__ import annotations

from sdfrender.bench.candidates import Candidate, engines
from sdfrender.bench.card import card_candidates
from sdfrender.bench.peers import compiled_peer, mitsuba_peer


def peers() -> list[Candidate]:
    """Other ways to do it, which may need packages that are not here."""
    return [
        Candidate("torch.compile", ("hits",), compiled_peer.open_session, baseline=True),
        Candidate("mitsuba sdfgrid", ("hits",), mitsuba_peer.open_session),
    ]


def by_name(name: str) -> Candidate:
    """The engine or peer of that name."""
    return next(c for c in [*engines(), *card_candidates(), *peers()] if c.name == name)
