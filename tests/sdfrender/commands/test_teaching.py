"""Commands that teach: an overview by what one wants, options in groups, near misses."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Annotated, Any

import pytest
import tyro

import multiview.cli
import sdfrender.cli
import singleview.cli
from multiview.commands import fit
from multiview.config import FitConfig
from sdfrender.commands.grouped import grouped
from sdfrender.commands.overview import no_such_command, summary

PROGRAMS = [multiview.cli, sdfrender.cli, singleview.cli]
NAMES = ["multiview", "sdfrender", "singleview"]
each_program = pytest.mark.parametrize("program", PROGRAMS, ids=NAMES)


def run(program: ModuleType, monkeypatch: pytest.MonkeyPatch, *args: str) -> int:
    monkeypatch.setattr(sys, "argv", [program.__name__.split(".")[0], *args])
    try:
        return program.main()
    except SystemExit as stop:
        return int(stop.code or 0)


@each_program
def test_every_command_stands_under_what_it_is_for(program: ModuleType) -> None:
    listed = [name for names in program.GROUPS.values() for name in names]
    assert sorted(listed) == sorted(program.COMMANDS)


@each_program
@pytest.mark.parametrize("args", [(), ("--help",), ("-h",)], ids=["nothing", "help", "h"])
def test_the_overview_has_a_sentence_for_each_command(
    program: ModuleType,
    args: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(program, monkeypatch, *args) == (0 if args else 2)
    printed = capsys.readouterr()
    assert not (printed.err if args else printed.out)
    told = " ".join((printed.out + printed.err).split())
    for heading in program.GROUPS:
        assert heading in told
    for name, command in program.COMMANDS.items():
        assert f"{name} {summary(command)}" in told
    assert "--tyro-print-completion" in told


@each_program
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_command(
    program: ModuleType,
    shell: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(program, monkeypatch, "--tyro-print-completion", shell) == 0
    script = capsys.readouterr().out
    for name in program.COMMANDS:
        assert name in script


def test_a_misspelt_command_is_told_which_comes_closest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(multiview.cli, monkeypatch, "fti", "scene") == 2
    printed = capsys.readouterr()
    assert not printed.out
    assert printed.err == "error: fti: multiview has no such command, did you mean fit?\n"
    assert no_such_command("p", "xyzzy", ["fit", "demo"]).endswith("there are fit, demo")
    assert no_such_command("p", "eval", ["fit", "evaluate"]).endswith("did you mean evaluate?")


def test_a_misspelt_option_is_told_which_comes_closest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(multiview.cli, monkeypatch, "fit", "scene", "--resolutoin", "32") == 2
    told = capsys.readouterr().err
    assert re.search(r"Perhaps you meant:[\s│]+--resolution INT", told)
    assert "--resolutions" not in told  # of another command


def test_all_options_of_a_fit_stand_in_a_group(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert run(multiview.cli, monkeypatch, "fit", "--help") == 0
    told = capsys.readouterr().out
    boxes = boxes_of(told)
    assert list(boxes) == list(fit.GROUPS)
    for title, (about, names) in fit.GROUPS.items():
        assert about in boxes[title]
        for name in names:
            if name != "scene":
                assert f"--{name.replace('_', '-')} " in boxes[title], name
    assert len(fit.GROUPS["main"][1]) == 6  # the scene, and five that matter


def boxes_of(told: str) -> dict[str, str]:
    """The boxes of a help text by their headings; the first, of `options`, is not among them."""
    parts = re.split(r"^\W*(\w+) options\W*$", told, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_groups_change_no_option() -> None:
    """The same settings come of the same words, with the help that the class has."""
    words = "scene --out run --resolution 96 --train-views 2::3 --bounds -1 -1 -1 1 1 1 --texture"
    words += " --refine-cameras --light camera --threads 2 --seed 7 --prior-up=-z --loss huber"
    made = grouped(FitConfig, fit.GROUPS)
    flat = tyro.cli(FitConfig, args=words.split())
    assert tyro.cli(tyro.conf.OmitArgPrefixes[made], args=words.split()) == flat
    bare = ["scene", "--out", "run"]
    assert tyro.cli(tyro.conf.OmitArgPrefixes[made], args=bare) == tyro.cli(FitConfig, args=bare)
    assert flat != tyro.cli(FitConfig, args=bare)


@dataclass(frozen=True)
class Two:
    """Settings.

    Args:
        left: The first.
        right: The second,
            in two lines.
    """

    left: int
    right: Annotated[str, tyro.conf.arg(metavar="R")] = "r"


def test_what_is_in_no_group_comes_last(capsys: pytest.CaptureFixture[str]) -> None:
    made: Any = tyro.conf.OmitArgPrefixes[grouped(Two, {"main": ("About.", ["right"])})]
    assert tyro.cli(made, args=["--left", "3"]) == Two(3)
    with pytest.raises(SystemExit):
        tyro.cli(made, args=["--help"])
    boxes = boxes_of(capsys.readouterr().out)
    assert list(boxes) == ["main", "more"]
    assert "--left INT" in boxes["more"]
    assert "The second, in two lines." in boxes["main"]


@pytest.mark.parametrize("names", [["left", "left"], ["centre"]])
def test_groups_name_each_field_once(names: list[str]) -> None:
    with pytest.raises(ValueError, match=names[0]):
        grouped(Two, {"main": ("About.", names)})
