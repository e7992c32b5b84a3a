"""Pixels whose colour is that of one point of the surface: light and colours are solved by them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from multiview.photo.parts import Part, SharedHits, every_so_many


@dataclass(frozen=True, eq=False)
class Hits:
    """Pixels whose colour is that of one point of the surface: P of them.

    Args:
        points: `[P, 3]`, world units.
        views: `[P]` which of the scene's views show them.
        light: `[P, C]` what falls on them if the light is known, else the basis `[P, 9]`.
        colors: `[P, C]` of the photographs.
        rendered: `[P, C]`, before the lens.
        shared: where these are of one process's views, how many the others have.
    """

    points: Tensor
    views: Tensor
    light: Tensor
    colors: Tensor
    rendered: Tensor
    shared: SharedHits | None = None

    def __len__(self) -> int:
        return len(self.points)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """What there is of each pixel."""
        return self.points, self.views, self.light, self.colors, self.rendered

    @property
    def total(self) -> int:
        """P, or of all processes together."""
        return len(self) if self.shared is None else int(self.shared.counts.sum())

    @classmethod
    def some(cls, observed: list[Hits], count: int) -> Hits:
        """At most `count` of all that were observed, spread evenly; the others are not copied."""
        step = max(1, math.ceil(sum(hits.total for hits in observed) / count))
        if observed[0].shared is not None:
            shown = [(hits.shared, hits.tensors) for hits in observed if hits.shared is not None]
            points, views, light, colors, rendered = every_so_many(shown, step)
            return cls(points, views, light, colors, rendered)
        parts, first = [], 0
        for hits in observed:
            parts.append([x[first::step] for x in hits.tensors])
            first = (first - len(hits)) % step
        points, views, light, colors, rendered = map(torch.cat, zip(*parts, strict=True))
        return cls(points, views, light, colors, rendered)


def shared_over(part: Part | None, hits: Hits, views: Tensor) -> Hits:
    """The hits on `views` `[n]`, with how many other processes have of the same set of views."""
    if part is None:
        return hits
    counts = torch.tensor([int((hits.views == view).sum()) for view in views])
    return replace(hits, shared=SharedHits(part, part.spread(counts)))
