"""What is told beside a command's result: by whom, how much of it, and where."""

from __future__ import annotations

import ast
import inspect
import logging
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from tqdm import tqdm

from sdfrender.commands.messages import (
    bars_hidden,
    messages_on_stderr,
    told_on_stderr,
    with_messages,
)
from sdfrender.commands.process import run_program
from sdfrender.errors import InputError

ROOT = Path(__file__).parents[3]
PACKAGES = ("sdfrender", "multiview", "singleview")
LEVELS = ("debug", "info", "warning", "error")


def tell_all(name: str) -> None:
    for level in LEVELS:
        getattr(logging.getLogger(name), level)("a %s", level)


def say(loud: bool = False) -> None:
    """Tell something.

    Args:
        loud: a result, in capitals.
    """
    tell_all("multiview")
    print("RESULT" if loud else "result", bars_hidden())


def fail() -> None:
    """Go wrong."""
    raise InputError("x: need y")


def program(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["program", *arguments])
    return run_program({"say": say, "fail": fail}, "program", "For tests.")


@pytest.mark.parametrize(
    ("options", "told", "hidden"),
    [
        ([], ["a info", "warning: a warning", "error: a error"], False),
        (["--quiet"], ["warning: a warning", "error: a error"], True),
        (["-v"], ["a debug", "a info", "warning: a warning", "error: a error"], False),
        (["--verbose"], ["a debug", "a info", "warning: a warning", "error: a error"], False),
    ],
)
def test_a_command_tells_on_stderr_what_it_is_asked_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    options: list[str], told: list[str], hidden: bool,
) -> None:  # fmt: skip
    for _ in range(2):  # the second time no line comes twice
        assert program(monkeypatch, "say", "--loud", *options) == 0
        out, err = capsys.readouterr()
        assert out == f"RESULT {hidden}\n"
        assert err.splitlines() == told


def test_both_at_once_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program(monkeypatch, "say", "-v", "--quiet") == 2
    assert capsys.readouterr() == (
        "",
        "error: --quiet: need one of --verbose and --quiet, got both\n",
    )


def test_an_error_is_one_line_and_with_v_where_it_came_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for options in ([], ["--quiet"]):
        assert program(monkeypatch, "fail", *options) == 2
        assert capsys.readouterr() == ("", "error: x: need y\n")
    assert program(monkeypatch, "fail", "-v") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" in err
    assert "in fail" in err
    assert err.endswith("\nerror: x: need y\n")


@pytest.mark.parametrize("name", PACKAGES)
def test_the_levels_are_put_back(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger(name)
    before = logger.level, list(logger.handlers)
    with messages_on_stderr(logging.DEBUG):
        assert told_on_stderr()
        tell_all(f"{name}.part")
    assert capsys.readouterr().err.count("\n") == 4
    assert (logger.level, logger.handlers) == before
    assert not told_on_stderr()


def test_lines_stand_above_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with messages_on_stderr(), tqdm(total=2, desc="working", ascii=True) as bar:
        bar.update(1)
        logging.getLogger("multiview").info("half of it")
    assert any(line.strip("\r ") == "half of it" for line in capsys.readouterr().err.splitlines())


def test_used_as_a_library_nothing_is_printed() -> None:
    code = """if True:
        import logging, sdfrender, multiview, singleview
        for name in ("sdfrender", "multiview", "singleview"):
            logging.getLogger(name).error("told to nobody")
    """
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_a_process_that_a_command_starts_tells_at_its_level() -> None:
    code = """if True:
        import gc, logging
        from sdfrender.commands.messages import tell_from_now_on
        tell_from_now_on(logging.WARNING)
        gc.collect()
        logging.getLogger("multiview").info("not told")
        logging.getLogger("multiview").warning("told")
    """
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "warning: told\n")


def test_the_signature_has_the_options_beside_the_commands_own() -> None:
    told = with_messages(say)
    assert list(inspect.signature(told).parameters) == ["loud", "verbose", "quiet"]
    assert list(inspect.signature(say).parameters) == ["loud"]
    assert told.__doc__ == say.__doc__


@pytest.mark.parametrize("name", PACKAGES)
def test_every_program_has_them(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cli = import_module(f"{name}.cli")
    for command in cli.COMMANDS:
        monkeypatch.setattr(sys, "argv", [name, command, "--help"])
        with pytest.raises(SystemExit):
            cli.main()
        out = capsys.readouterr().out
        assert "-v, --verbose" in out
        assert "--quiet" in out


def test_print_is_for_results() -> None:
    """Only `process`, the last word of a command, prints to stderr by itself."""
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
                    there = {k.arg for k in node.keywords} & {"file"}
                    where = f"{path.relative_to(ROOT)}:{node.lineno}"
                    assert not there or path.name == "process.py", where
