"""When two records of tensors are equal: when all their numbers are.

The comparison that a dataclass makes asks a tensor for one truth value and fails. Records that are
public are compared here; all others are equal only to themselves (`eq=False`).
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from torch import Tensor


class EqualByValue:
    """For a dataclass with `eq=False`: `==` compares field by field, numbers exactly.

    Tensors are equal if their dtype, device, shape and all numbers are. What can change in place
    has no hash.
    """

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(self) is not type(other):
            return NotImplemented
        return all(
            equal(getattr(self, field.name), getattr(other, field.name))
            for field in fields(self)  # type: ignore[arg-type]
        )


def equal(a: Any, b: Any) -> bool:
    """Whether two fields are: tensors in all numbers, sequences in all elements."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.dtype == b.dtype and a.device == b.device and torch.equal(a, b)
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return False
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return bool(a == b)
