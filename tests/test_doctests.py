"""The examples in docstrings are true."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest
from imports import module_name, sources
from places import ROOT

MODULES = sorted(
    module_name(path) for path in sources("sdfrender") if ">>> " in path.read_text(encoding="utf-8")
)


def test_there_are_examples() -> None:
    assert len(MODULES) >= 7
    assert (ROOT / "sdfrender").is_dir()


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_a_module(module: str) -> None:
    failed, tried = doctest.testmod(import_module(module))
    assert tried > 0
    assert failed == 0
