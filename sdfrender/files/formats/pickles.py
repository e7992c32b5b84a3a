"""What a pickle would call, looked at without calling or loading anything.

torch refuses what is not on its list, but first describes it in a message, and searches that: of a
name of a megabyte, or of a list that holds itself many times over, this takes hours.
"""

from __future__ import annotations

import pickletools
import zipfile
from pathlib import Path
from typing import IO, Any

ZIP = b"PK\3\4"
LEGACY = 5  # pickles of a file without an archive: kind, version, machine, contents, storages
LONGEST = 300  # characters of a function's name
CALLS = ("REDUCE", "NEWOBJ")
PUTS, GETS = ("PUT", "BINPUT", "LONG_BINPUT"), ("GET", "BINGET", "LONG_BINGET")
KEEP = ("DUP", "MEMOIZE")  # leave, or repeat, what is on top of the stack
_MARK, _FUNCTION, _OTHER = "mark", "function", "other"
GIVES = {"MARK": _MARK, "GLOBAL": _FUNCTION}


def _effect(step: Any) -> tuple[bool, int, int]:
    """Whether a step takes all from the last mark on, how many more, and how many it gives."""
    taken = [each.name for each in step.stack_before]
    to_mark = "mark" in taken
    return to_mark, taken.index("mark") if to_mark else len(taken), len(step.stack_after)


EFFECTS = {step.name: _effect(step) for step in pickletools.opcodes}


def need_short_calls(path: Path) -> None:
    """Check the pickles of a file of torch: they call functions, and these have short names.

    Raises:
        ValueError: something else, or no pickle.
    """
    with path.open("rb") as file:
        if file.read(len(ZIP)) != ZIP:
            file.seek(0)
            for _ in range(LEGACY):
                _need_short_calls(file)
            return
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.filename.endswith("data.pkl"):
                with archive.open(member) as pickled:
                    _need_short_calls(pickled)


def _need_short_calls(pickled: IO[bytes]) -> None:
    """The same of one pickle; what is on its stack is followed by kind."""
    stack: list[str] = []
    memo: dict[Any, str] = {}
    for step, argument, _ in pickletools.genops(pickled):
        name = step.name
        if name == "GLOBAL" and len(str(argument)) > LONGEST:
            raise ValueError(f"the name of a function, {len(str(argument))} characters long")
        if name in CALLS and stack[-2:-1] != [_FUNCTION]:
            raise ValueError("a call of something that is no function")
        if name in PUTS:
            memo[argument] = stack[-1]
        top = stack[-1] if stack else _OTHER
        to_mark, takes, gives = EFFECTS[name]
        if to_mark:
            while stack.pop() != _MARK:
                pass
        if takes > len(stack):
            raise ValueError("steps that take more than there is")
        if takes:
            del stack[-takes:]
        if name in GETS:
            stack.append(memo[argument])
        elif gives:
            stack += [top if name in KEEP else GIVES.get(name, _OTHER)] * gives
