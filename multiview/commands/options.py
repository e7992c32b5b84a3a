"""Kinds of options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

RunFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run")]
