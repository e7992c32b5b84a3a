"""A look without colours: renderings that are compared by outline and depth alone."""

from __future__ import annotations

from multiview.photo.appearance import Appearance
from multiview.photo.targets import Targets
from sdfrender import Lighting, Rendering
from sdfrender.geometry.sparse.lattice import AnyLattice


class Outline(Appearance):
    """One even grey that learns nothing: what a rendering costs least with."""

    def __init__(self) -> None:
        super().__init__(1, Lighting(ambient=1.0, headlight=None))

    def observe(self, out: Rendering, targets: Targets, lattice: AnyLattice) -> None:
        """Nothing is learnt."""


def without_colors(targets: Targets) -> Targets:
    """The same views with one channel of their images, which are not looked at."""
    return targets.in_one_channel()
