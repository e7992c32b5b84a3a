"""The pages that users read, and the blocks of code in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from places import ROOT

DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = [README, *sorted(DOCS.glob("*/*.md"))]
START = [README, *sorted((DOCS / "start").glob("*.md"))]

BLOCK = re.compile(r"(?:^<!-- ([^\n]*?) -->\n)?^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Args:
        page: where it stands.
        mark: what the comment right before it says; empty without one.
        language: of its code.
        text: what stands in it.
    """

    page: Path
    mark: str
    language: str
    text: str

    @property
    def lines(self) -> list[str]:
        """Its lines, those that a backslash continues joined."""
        return self.text.replace("\\\n", " ").splitlines()


def text(page: Path) -> str:
    """What a page says."""
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[Block]:
    """The blocks of a page in one language, in their order."""
    found = [Block(page, mark or "", of, code) for mark, of, code in BLOCK.findall(text(page))]
    return [block for block in found if block.language == language]


def name(page: Path) -> str:
    """A page as tests are named after it."""
    return page.relative_to(ROOT).as_posix()
