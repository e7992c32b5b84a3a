"""Prose of Markdown pages: its sentences, and how hard they are to read.

The grade is that of Flesch and Kincaid (1975), with syllables counted as groups of vowels.
"""

from __future__ import annotations

import re

ENDS = re.compile(r"(?<=[.!?:;])[)*_”\"]*\s+(?=[(*_“\"]*[A-Z0-9`])")


def paragraphs(page: str) -> list[str]:
    """The running text of a page: no code, tables, headings, pictures or comments.

    Inline code is one word; of a link its text is kept. An item of a list is a paragraph.
    """
    page = re.sub(r"^---\n.*?^---\n", "", page, count=1, flags=re.DOTALL | re.MULTILINE)
    page = re.sub(r"^(```|:::).*?^\1\s*$", "\n", page, flags=re.DOTALL | re.MULTILINE)
    page = re.sub(r"<!--.*?-->", "\n", page, flags=re.DOTALL)
    page = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", page)
    page = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", page)
    page = re.sub(r"\{\w+\}`[^`]*`|`[^`]*`", "CODE", page)
    page = re.sub(r"^(\||#|\$\$).*$", "\n", page, flags=re.MULTILINE)
    page = re.sub(r"^\s*([*-]|\d+\.)\s+", "\n\n", page, flags=re.MULTILINE)
    found = (" ".join(part.split()) for part in re.split(r"\n\s*\n", page))
    return [re.sub(r"[*_]{1,2}", "", part) for part in found if part]


def sentences(page: str) -> list[str]:
    """The sentences of a page's running text; what stands before a colon is one of its own."""
    return [s for p in paragraphs(page) for s in ENDS.split(p) if words(s)]


def words(sentence: str) -> list[str]:
    """The words of a sentence: what has a letter in it."""
    return re.findall(r"[^\W_]*[^\W\d_](?:[\w'’-]*\w)?", sentence)


def syllables(word: str) -> int:
    """Groups of vowels, a silent e at the end left out; at least one."""
    word = word.lower()
    if len(word) > 3 and re.search(r"[^aeiouyl]e$|[^aeiouytd]ed$|[^aeiouyszcgx]es$", word):
        word = re.sub(r"e[ds]?$", "", word)
    return max(1, len(re.findall(r"[aeiouy]+", word)))


def grade(page: str) -> float:
    """Flesch-Kincaid grade: years of school that the text asks for."""
    found = [words(s) for s in sentences(page)]
    count = sum(map(len, found))
    vowels = sum(syllables(w) for s in found for w in s)
    return 0.39 * count / len(found) + 11.8 * vowels / count - 15.59
