"""The README keeps its word."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

import multiview.cli
import sdfrender.cli
import singleview.cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_api_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "\n".join(re.findall(r"```python\n(.*?)```", README, re.DOTALL))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "example.py").write_text(code, encoding="utf-8")
    names = runpy.run_path("example.py")
    assert (tmp_path / "shape.ply").stat().st_size > 1000
    assert float(names["values"].grad.abs().max()) > 0
    assert names["pulled"].shape == names["values"].shape


def test_every_command_that_is_named_exists() -> None:
    known = {
        "multiview": multiview.cli.COMMANDS,
        "sdfrender": sdfrender.cli.COMMANDS,
        "singleview": singleview.cli.COMMANDS,
    }
    named = re.findall(r"\b(multiview|sdfrender|singleview) ([a-z-]+)\b", README)
    commands = {(p, c) for p, c in named if f"`{p} {c}" in README or f"/{p} {c}" in README}
    assert len(commands) >= 14
    for program, command in commands:
        assert command in known[program], f"{program} {command}"
    for program, table in known.items():
        for command in table:
            assert f"{program} {command}" in README, f"{program} {command} is not in the README"


def test_files_that_are_named_exist() -> None:
    rooms = "assets|tests|sdfrender|multiview|singleview"
    paths = re.findall(rf"(?<![\w/-])((?:{rooms})/[\w./]+)", README)
    assert len(paths) >= 10
    for path in paths:
        assert (ROOT / path.rstrip(".")).exists(), path


def test_the_layout_names_every_folder() -> None:
    (layout,) = re.findall(r"## Layout\n.*?```\n(.*?)```", README, re.DOTALL)
    trees = re.split(r"^(?=\S)", layout, flags=re.MULTILINE)[1:]
    for tree in trees:
        name, _, rest = tree.partition("/")
        assert (ROOT / name).is_dir(), name
        named = set(re.findall(r"(\w+)/", rest))
        real = {path.parent.name for path in (ROOT / name).rglob("*.py")} - {name}
        assert named <= real | {"support", "benchmarks"}, (name, named - real)
        if name in ("sdfrender", "multiview", "singleview"):
            direct = {path.parent.name for path in (ROOT / name).glob("*/__init__.py")}
            assert direct <= named, (name, direct - named)


def test_install_commands_use_the_constraints() -> None:
    for marker in ("run", "test"):
        (block,) = re.findall(rf"<!-- {marker} -->\n```bash\n(.*?)```", README, re.DOTALL)
        assert "-c constraints.txt" in block
        assert block.count("\n") == 1, "one command"
