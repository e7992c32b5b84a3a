"""Kinds of options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

A = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="A")]
B = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="B")]
Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]  # `--json`, and no `--no-json`
