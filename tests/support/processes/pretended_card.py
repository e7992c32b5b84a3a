"""A card that is pretended: tensors that say they are on `cuda`, with their numbers on the CPU.

What mixes tensors of both places fails, as it does with a card; and what is copied from the card to
the host is counted. Nothing is computed otherwise than on the CPU.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

CARD = torch.device("cuda", 0)
# Which take tensors of both places: indices of the host are sent along.
BOTH = {"__getitem__", "__setitem__", "copy_", "index_put_", "to", "is_set_to"}
SCALARS = {"item", "__bool__", "__float__", "__int__", "__index__", "equal", "nonzero"}


class OnCard(Tensor):
    """A tensor that says it is on a card."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return called(func, args, kwargs or {})


class PretendedCard(TorchFunctionMode):
    """While it is on, `cuda` is the pretended card."""

    copied: ClassVar[list[tuple[int, ...]]] = []  # shapes of what went to the host
    scalars: ClassVar[int] = 0  # numbers that the host waited for

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return called(func, args, kwargs or {})

    @classmethod
    def forget(cls) -> None:
        """Begin to count anew."""
        cls.copied, cls.scalars = [], 0


def memory(x: Tensor) -> Tensor:
    """The memory of a tensor, wherever it says it is."""
    with torch._C.DisableTorchFunctionSubclass():
        return x.as_subclass(Tensor)


def on_card(x: Any) -> Any:
    """The same memory, on the card."""
    with torch._C.DisableTorchFunctionSubclass():
        return x.as_subclass(OnCard) if isinstance(x, Tensor) else x


def called(func: Any, args: Any, kwargs: Any) -> Any:
    """What a function of torch returns, with its place."""
    name = getattr(func, "__name__", "")
    tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
    theirs = [isinstance(x, OnCard) for x in tensors]
    first = isinstance(args[0], OnCard) if args else False
    if name == "__get__" and first and getattr(func.__self__, "__name__", "") == "device":
        return CARD
    if name in ("to", "cpu", "cuda", "type_as"):
        return moved(name, args, kwargs)
    if name in ("numpy", "__array__") and first:
        raise TypeError(f"{name}: a tensor on the card")
    if any(theirs) and name not in BOTH:
        strangers = [x for x, card in zip(tensors, theirs, strict=True) if not card]
        if any(memory(x).ndim for x in strangers):
            raise RuntimeError(f"{name}: tensors on the card and on the host")
    if any(theirs) and name in ("__setitem__", "copy_", "index_put_") and not first:
        raise RuntimeError(f"{name}: from the card into the host's memory")
    if first and name in SCALARS:
        PretendedCard.scalars += 1
    if first and name == "tolist":
        PretendedCard.copied.append(tuple(memory(args[0]).shape))
    device = kwargs.get("device")
    made = device is not None and torch.device(device).type == "cuda"
    if device is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    plain = lambda x: memory(x) if isinstance(x, Tensor) else x  # noqa: E731
    with torch._C.DisableTorchFunctionSubclass():
        out = func(*tree_map(plain, args), **tree_map(plain, kwargs))
    if name == "__get__" and not isinstance(out, Tensor):
        return out
    here = made if device is not None else any(theirs)
    in_place = name.endswith("_") and not name.startswith("_")
    if in_place and isinstance(out, Tensor) and args and isinstance(args[0], Tensor):
        return args[0]
    return tree_map(on_card, out) if here else out


def moved(name: str, args: Any, kwargs: Any) -> Tensor:
    """`x.to(…)` and the like."""
    x, *target = args
    device, dtype = x.device, kwargs.get("dtype", x.dtype)
    for t in (*target, kwargs.get("device")):
        if isinstance(t, Tensor):
            device, dtype = t.device, t.dtype
        elif isinstance(t, torch.dtype):
            dtype = t
        elif isinstance(t, str | torch.device):
            device = torch.device(t)
    device = {"cpu": torch.device("cpu"), "cuda": CARD}.get(name, device)
    if device.type == x.device.type and dtype == x.dtype:
        return x  # type: ignore[no-any-return]
    out = memory(x).to(dtype)
    if device.type != x.device.type:
        out = out.clone()
        if device.type == "cpu":
            PretendedCard.copied.append(tuple(out.shape))
    return on_card(out) if device.type == "cuda" else out  # type: ignore[no-any-return]
