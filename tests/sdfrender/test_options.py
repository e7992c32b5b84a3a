"""Options out of range, in the words of the command line."""

from dataclasses import dataclass

import pytest

from sdfrender.errors import InputError
from sdfrender.options import check_options


@dataclass
class Settings:
    image_size: int = 3
    seed: int = -1


def test_the_first_rule_that_is_broken_is_told() -> None:
    rules = {"image_size": (True, "at least 3"), "seed": (False, "at least 0")}
    with pytest.raises(InputError, match=r"^--seed: need at least 0, got -1$"):
        check_options(Settings(), rules)
    rules["image_size"] = (False, "at least 16")
    with pytest.raises(InputError, match=r"^--image-size: need at least 16, got 3$"):
        check_options(Settings(), rules)


def test_rules_that_hold_pass() -> None:
    check_options(Settings(), {"image_size": (True, "at least 3")})
