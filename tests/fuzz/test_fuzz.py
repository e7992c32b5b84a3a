"""No bytes make a reader raise anything but `InputError`: the corpus, and mutations of it by lot.

`tests/fuzz/run.py` runs more of them, or has atheris find better ones.
"""

from __future__ import annotations

import random

import pytest
from targets import CORPUS, TARGETS, mutated, run, seeds


def test_every_target_has_a_corpus_and_every_corpus_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_a_plain_file_is_read(name: str) -> None:
    assert run(name, (CORPUS / name / "plain").read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes_are_read_or_refused(name: str) -> None:
    rng, corpus = random.Random(0), seeds(name)
    for data in corpus:
        run(name, data)
    accepted = 0
    for _ in range(TARGETS[name].executions):
        accepted += run(name, mutated(rng.choice(corpus), corpus, rng))
    if not TARGETS[name].heals:  # some of the mutations are damage
        assert accepted < TARGETS[name].executions
