"""What commands tell beside their result: how much of it, and where it goes.

The packages tell it to the loggers of their names, `sdfrender`, `multiview` and `singleview`; used
as a library they print nothing. A command writes it to stderr, a plain line each, so that stdout
holds the result alone. Every command has `--verbose` and `--quiet` for it.
"""

from __future__ import annotations

import functools
import inspect
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import tyro

from sdfrender.errors import InputError
from sdfrender.options import Flag

PACKAGES = ("sdfrender", "multiview", "singleview")

OPTIONS = {
    "verbose": Annotated[
        Flag,
        tyro.conf.arg(
            aliases=("-v",),
            help="Also tell what is done, and where in the program an error came up.",
        ),
    ],
    "quiet": Annotated[Flag, tyro.conf.arg(help="Tell warnings and errors only.")],
}


class PlainLines(logging.Formatter):
    """The message alone; of warnings and errors what they are before it, as in `warning: …`."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as it is written."""
        line = super().format(record)
        serious = record.levelno >= logging.WARNING
        return f"{record.levelname.lower()}: {line}" if serious else line


class ToStderr(logging.Handler):
    """Writes lines to stderr, above progress bars that are being drawn there."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        from tqdm import tqdm

        try:
            tqdm.write(self.format(record), file=sys.stderr)
        except Exception:
            self.handleError(record)


@contextmanager
def messages_on_stderr(level: int = logging.INFO) -> Iterator[None]:
    """Inside, what the packages tell goes to stderr, from a level of `logging` on."""
    with _told_to(ToStderr(), level):
        yield


@contextmanager
def messages_in(file: Path) -> Iterator[None]:
    """Inside, what the packages tell is added to a file as well; its folder is made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(file, encoding="utf-8")
    try:
        with _told_to(handler, logging.INFO):
            yield
    finally:
        handler.close()


@contextmanager
def _told_to(handler: logging.Handler, level: int) -> Iterator[None]:
    """Inside, the packages have one more handler, and tell from this level on."""
    loggers = [logging.getLogger(name) for name in PACKAGES]
    before = [logger.level for logger in loggers]
    _add(handler, level)
    try:
        yield
    finally:
        for logger, old in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(old)


def _add(handler: logging.Handler, level: int) -> None:
    handler.setFormatter(PlainLines())
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(level)


def tell_from_now_on(level: int) -> None:
    """As `messages_on_stderr`, for good: for a process that a command starts.

    Args:
        level: of its parent's messages.
    """
    _add(ToStderr(), level)


def message_level() -> int:
    """The level of `logging` from which messages are told."""
    return logging.getLogger(PACKAGES[0]).getEffectiveLevel()


def told_on_stderr() -> bool:
    """Whether a command runs in this process, which tells its messages on stderr."""
    handlers = logging.getLogger(PACKAGES[0]).handlers
    return any(isinstance(handler, ToStderr) for handler in handlers)


def bars_hidden() -> bool:
    """Whether progress bars are unwanted: the command was told to be quiet."""
    return message_level() > logging.INFO


def with_messages(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options `--verbose` and `--quiet`, and with its messages on stderr."""

    @functools.wraps(command)
    def told(*args: Any, verbose: bool, quiet: bool, **options: Any) -> None:
        if verbose and quiet:
            raise InputError("--quiet: need one of --verbose and --quiet, got both")
        level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
        with messages_on_stderr(level):
            try:
                command(*args, **options)
            except (InputError, OSError):
                logging.getLogger("sdfrender").debug("the error came up here:", exc_info=True)
                raise

    hints = get_type_hints(command, include_extras=True)
    signature = inspect.signature(command)
    parameters = [
        *signature.parameters.values(),
        *(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False)
            for name in OPTIONS
        ),
    ]
    told.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    told.__annotations__ = {**hints, **OPTIONS}
    del told.__wrapped__  # whose options are fewer
    return told
