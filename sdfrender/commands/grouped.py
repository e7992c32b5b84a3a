"""The options of a settings class in groups, each in a box of its own in `--help`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, field, fields, make_dataclass
from inspect import Parameter, Signature, getdoc
from typing import Annotated, Any, TypeVar, get_type_hints

import tyro
from docstring_parser import parse

Settings = TypeVar("Settings")
MORE = "more"  # the group of what is in no other


def grouped(
    settings: type[Any],
    groups: Mapping[str, tuple[str, Sequence[str]]],
    make: Callable[..., Settings] | None = None,
    without: Sequence[str] = (),
) -> Callable[..., Settings]:
    """A constructor of `settings` that takes a record for each group of options.

    `Annotated[Settings, tyro.conf.arg(name="", constructor=grouped(…)), OmitArgPrefixes]` then has
    the same options as the class itself; what tells them apart is where `--help` lists them.

    Args:
        settings: a dataclass whose docstring describes its fields.
        groups: by a word for its heading, what the group is about and the names of its fields.
            Fields in no group come last, under "more".
        make: called with what was chosen, by name; by default `settings`.
        without: fields that are no options here.

    Raises:
        ValueError: a name that is no field, or is in two groups.
    """
    known = {f.name: f for f in fields(settings) if f.name not in without}
    groups = {
        title: (about, [name for name in names if name not in without])
        for title, (about, names) in groups.items()
    }
    build: Callable[..., Settings] = settings if make is None else make
    listed = [name for _, names in groups.values() for name in names]
    wrong = {name for name in listed if name not in known or listed.count(name) > 1}
    if wrong:
        raise ValueError(f"groups: need each field of {settings.__name__} once, got {wrong}")
    rest = [name for name in known if name not in listed]
    table = {**groups, **({MORE: ("Options of all kinds.", rest)} if rest else {})}
    records = {
        title: _record(settings, title, about, [known[name] for name in names])
        for title, (about, names) in table.items()
    }

    def construct(**parts: Any) -> Settings:
        chosen = {f.name: getattr(part, f.name) for part in parts.values() for f in fields(part)}
        return build(**chosen)

    construct.__signature__ = Signature(  # type: ignore[attr-defined]
        [
            Parameter(title, Parameter.KEYWORD_ONLY, annotation=record)
            for title, record in records.items()
        ]
    )
    construct.__annotations__ = dict(records)
    construct.__doc__ = None
    return construct


def _record(settings: type[Any], title: str, about: str, chosen: Sequence[Field[Any]]) -> type[Any]:
    """A dataclass with some of the fields; those without a default come first."""
    hints = get_type_hints(settings, include_extras=True)
    helps = _descriptions(settings)
    ordered = sorted(chosen, key=lambda f: f.default is not MISSING)
    record = make_dataclass(
        title,
        [
            (
                f.name,
                Annotated[hints[f.name], tyro.conf.arg(help=helps.get(f.name))],
                field() if f.default is MISSING else field(default=f.default),
            )
            for f in ordered
        ],
        frozen=True,
    )
    record.__doc__ = about
    return record


def _descriptions(settings: type[Any]) -> dict[str, str]:
    """What the docstring says of each field."""
    told = parse(getdoc(settings) or "").params
    return {param.arg_name: " ".join((param.description or "").split()) for param in told}
