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
_MARK, _FUNCTION, _OTHER = "mark", "function", "other"


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
        if step.name == "GLOBAL" and len(str(argument)) > LONGEST:
            raise ValueError(f"the name of a function, {len(str(argument))} characters long")
        if step.name in CALLS and stack[-2:-1] != [_FUNCTION]:
            raise ValueError("a call of something that is no function")
        if "PUT" in step.name:
            memo[argument] = stack[-1]
        top = stack[-1] if stack else _OTHER
        _take(stack, [each.name for each in step.stack_before])
        if step.name == "MARK":
            stack.append(_MARK)
        elif step.name == "GLOBAL":
            stack.append(_FUNCTION)
        elif "GET" in step.name:
            stack.append(memo[argument])
        else:
            kept = top if step.name in ("DUP", "MEMOIZE") else _OTHER
            stack += [kept] * len(step.stack_after)


def _take(stack: list[str], names: list[str]) -> None:
    """Take from the stack what a step takes: `names` as `pickletools` calls it."""
    count = len(names)
    if "mark" in names:
        while stack.pop() != _MARK:
            pass
        count = names.index("mark")
    if count > len(stack):
        raise ValueError("steps that take more than there is")
    del stack[len(stack) - count :]
