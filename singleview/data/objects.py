"""What all sets of objects share: names with a category in front, and a split for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Self

from torch import Tensor

from sdfrender.errors import InputError
from singleview.data.columns import Column
from singleview.settings.choices import SPLITS, Split

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
else:
    DataclassInstance = object

LONGEST_SIDE = 1.5  # of a normalised object, in the box [-1, 1]³


class Objects(DataclassInstance):
    """Base of dataclasses whose tensors have a row for each of N objects.

    Attributes:
        names: `CATEGORY/OBJECT`.
        splits: of each object.
    """

    names: tuple[str, ...]
    splits: tuple[Split, ...]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def categories(self) -> tuple[str, ...]:
        """Of each object: the first part of its name."""
        return tuple(category_of(name) for name in self.names)

    def split(self, which: Split) -> Self:
        """The objects of one split.

        Raises:
            InputError: it has none.
        """
        if which not in SPLITS:
            raise InputError(f"split: need one of {', '.join(SPLITS)}, got {which!r}")
        ids = [i for i, split in enumerate(self.splits) if split == which]
        if not ids:
            raise InputError(f"dataset: no object is in the split {which!r}")
        return self.subset(ids)

    def subset(self, objects: Sequence[int]) -> Self:
        """Some of the objects, in the order given."""
        ids = list(objects)
        return replace(
            self,
            **{field.name: self._rows(field.name, ids) for field in fields(self)},
        )

    def _rows(self, name: str, ids: list[int]) -> Any:
        """A field of some of the objects; what is no tensor and not named here is of all."""
        value = getattr(self, name)
        if name in ("names", "splits"):
            return tuple(value[i] for i in ids)
        if isinstance(value, Column):
            return value.subset(ids)
        return value[ids] if isinstance(value, Tensor) else value


def category_of(name: str) -> str:
    """The category in an object's name."""
    return name.split("/")[0]
