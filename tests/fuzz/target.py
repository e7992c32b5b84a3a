"""What a target of the fuzzer is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from places import ROOT

CORPUS = ROOT / "tests" / "corpus"


@dataclass(frozen=True)
class Target:
    """A reader.

    Args:
        read: what is done with the file.
        place: the file's path in a folder of its own.
        prepare: writes what else is in that folder.
        member: of a zip archive, whose other members stay: the bytes are this one's.
        executions: in the suite; some readers are slow.
        heals: whether it leaves out what is damaged, and refuses nothing.
        asks: whether memory may be asked for that is never touched: the system gives it or not.
    """

    read: Callable[[Path], object]
    place: str
    prepare: Callable[[Path], object] | None = None
    member: str = ""
    executions: int = 200
    asks: bool = False
    heals: bool = False


def corpus(name: str) -> bytes:
    """The plain file of a target."""
    return (CORPUS / name / "plain").read_bytes()
