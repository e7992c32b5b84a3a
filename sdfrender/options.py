"""Kinds of options that several commands have, and how options are checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import tyro

from sdfrender.errors import InputError

A = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="A")]
B = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="B")]
Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]  # `--json`, and no `--no-json`
AsJson = Annotated[Flag, tyro.conf.arg(name="json")]


def check_options(settings: object, rules: Mapping[str, tuple[bool, str]]) -> None:
    """Refuse settings out of range, in the words of the command line.

    Args:
        settings: whose fields the options are.
        rules: by the name of a field, whether its rule holds, and the rule: what is needed.

    Raises:
        InputError: the first rule that does not hold, such as "--image-size: need at least 16,
            got 3".
    """
    for name, (holds, rule) in rules.items():
        if not holds:
            option = "--" + name.replace("_", "-")
            raise InputError(f"{option}: need {rule}, got {getattr(settings, name)}")
