"""Records of tensors can be compared: the public ones by their numbers, none with an error."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import fields, is_dataclass, replace
from inspect import isclass
from typing import Any

import pytest
import torch

import sdfrender as sr
from sdfrender.equality import EqualByValue

PACKAGES = ("sdfrender", "multiview", "singleview")
NUMBERS = ("Tensor", "NDArray", "Array", "Floats", "Doubles", "Ints", "Image", "ndarray")


def cameras() -> sr.Cameras:
    return sr.Cameras.look_at([[0.5, 0.2, 3.0], [1.0, -2.0, 2.0]], width=7, height=5)


def lattice() -> sr.Lattice:
    return sr.Lattice.sphere(0.5, resolution=(5, 6, 4))


def light() -> sr.Lighting:
    color = torch.tensor([0.2, 0.3, 0.4])
    lamps = [sr.Directional((0, 1, 2), color), sr.Directional(torch.tensor([1.0, 0.0, 0.0]))]
    return sr.Lighting(color, sr.Headlight(color), lamps, torch.ones(9, 3))


RECORDS = {
    "Cameras": cameras,
    "Directional": lambda: sr.Directional(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1.0, 2.0])),
    "Headlight": lambda: sr.Headlight(torch.tensor([1.0, 2.0, 3.0])),
    "Lattice": lattice,
    "Lighting": light,
    "Rendering": lambda: sr.render(lattice(), cameras()),
    "SparseLattice": lambda: sr.SparseLattice.from_function(
        sr.primitives.sphere(0.5), (17, 18, 19)
    ),
}


def other(value: Any) -> Any:
    """Something else that the same field may hold."""
    if isinstance(value, torch.Tensor):
        changed = value.clone()
        if value.dtype == torch.bool:
            changed.view(-1)[-1] ^= True
        elif not changed.is_floating_point():
            changed.view(-1)[-1] -= 1
        else:
            changed.view(-1)[-1] = torch.nan_to_num(changed.view(-1)[-1], posinf=7.0)
            changed.view(-1)[-1] += 1e-5
        return changed
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, tuple):
        return (*value[:-1], value[-1] + 1)
    if isinstance(value, list):
        return [*value[:-1], replace(value[-1], intensity=0.5)]
    return replace(value, intensity=0.5)


def test_all_public_records_are_here() -> None:
    public = {name for name in sr.__all__ if is_dataclass(getattr(sr, name))}
    assert public - {"Linearization"} == set(RECORDS)


@pytest.mark.parametrize("name", RECORDS)
def test_public_records_are_compared_by_their_numbers(name: str) -> None:
    one, same = RECORDS[name](), RECORDS[name]()
    assert one == one
    assert one == same
    assert one != "something else"
    assert one != RECORDS["Lattice" if name != "Lattice" else "Cameras"]()
    for field in fields(one):
        changed = other(getattr(one, field.name))
        if name == "Cameras" and isinstance(changed, torch.Tensor):
            changed = getattr(one, field.name).clone()
            changed[-1, 0, 2 if field.name == "Ks" else 3] += 0.5
        assert one != replace(one, **{field.name: changed}), field.name
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


def test_dtype_shape_and_kind_count() -> None:
    assert lattice() != lattice().to(torch.float64)
    assert lattice() != lattice().with_values(lattice().values[None])
    assert cameras() != cameras()[0]
    assert sr.Headlight(1.0) == sr.Headlight(1.0)
    assert sr.Headlight(torch.tensor(1.0)) != sr.Headlight(1.0)
    assert sr.Lighting(directional=[sr.Directional((0, 0, 1))]) == sr.Lighting(
        directional=(sr.Directional((0, 0, 1)),)
    )
    nothing = torch.full((1, 2, 2), torch.nan)
    seen = sr.Rendering(nothing[..., None], nothing, nothing, nothing, nothing)
    assert seen == seen
    assert seen in [lattice(), seen]


def test_no_record_of_numbers_has_the_comparison_that_fails() -> None:
    """A dataclass's own `==` raises where a field is a tensor or an array of several numbers."""
    checked = 0
    for package in PACKAGES:
        path = importlib.import_module(package).__path__
        for module in pkgutil.walk_packages(path, f"{package}."):
            if module.name.endswith("__main__"):
                continue
            for kind in vars(importlib.import_module(module.name)).values():
                if not (isclass(kind) and is_dataclass(kind)) or kind.__module__ != module.name:
                    continue
                held = [str(f.type) for f in fields(kind) if "Callable" not in str(f.type)]
                arrays = any(word in of for of in held for word in NUMBERS)
                arrays |= ".engines." in module.name and "Any" in held  # arrays of the kernels
                if arrays:
                    checked += 1
                    name = f"{module.name}.{kind.__name__}"
                    assert not kind.__dataclass_params__.eq, f"{name}: need eq=False"
                    public = kind.__name__ in sr.__all__ and package == "sdfrender"
                    assert public == issubclass(kind, EqualByValue), name
    assert checked > 40
