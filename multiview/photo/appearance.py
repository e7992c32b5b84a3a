"""Colour, light and lens of a fit: what turns a shape into a photograph of it.

With the surface held fixed an image is linear in the albedo and in the light, so what fits best
solves linear least-squares problems, in turns. See `unknown_light` for a light that nobody has
measured.

| model | albedo | light |
|---|---|---|
| constant | one colour; 1 under an unknown light, whose strength it cannot be told from | yes |
| albedo | a lattice of colours | yes |
| radiance | a lattice of colours | none: what is seen does not depend on normals |
"""

from __future__ import annotations

import math
from copy import copy
from dataclasses import replace
from typing import Literal, get_args

import torch
from torch import Tensor

from multiview.config import FixedTo
from multiview.photo.albedo import (
    DARK,
    lit_channels,
    resampled,
    solve_albedo,
    with_unlit,
)
from multiview.photo.hits import Hits, shared_over
from multiview.photo.lens import LEAST, LensEstimate, blur, blur_
from multiview.photo.targets import Targets
from multiview.photo.unknown_light import FIXED_TO, UnknownLight
from sdfrender import Lattice, Lighting, Rendering, render
from sdfrender.geometry.sparse.lattice import AnyLattice
from sdfrender.looks.run_look import packed, unpacked
from sdfrender.looks.view_dependence import ViewDependence

Model = Literal["constant", "albedo", "radiance"]
MODELS: tuple[Model, ...] = get_args(Model)

ROBUST_SCALE = 0.05  # residuals beyond this count linearly in the light: shadows, highlights
SMOOTHNESS = 0.1  # ρ of the albedo; what is wrong with the surface should not become paint
SMOOTHNESS_AFTER = 0.02  # when the surface is done
LIGHT_PIXELS = 200_000  # are enough for 9 coefficients
ALBEDO_PIXELS = 2_000_000
MEETINGS = 3  # rounds of reweighting
UNLIT = 1e-3  # of the light of the brightest channel: of less, no colour can be told


class Appearance:
    """Colour, light and lens. `observe` the renderings of a pass, then `solve` for the next.

    Args:
        channels: C of the images.
        known: the light, or None to estimate it.
        model: see the table above; may be changed between passes.
        lens: estimate the lens's blur; otherwise pictures are perfectly sharp.
        fixed_to: what a light that is not known is fixed to.
        views: of the scene; needed if each has its own light.

    Attributes:
        albedo: `[C]` or `[X, Y, Z, C]`.
        light: as estimated; not used if it is known.
        rest: `[C]` the albedo where nothing is seen.
        beyond: what photographs show beyond colour and light, once the surface is done, or None.
        blur: standard deviation of the lens's Gaussian, as a fraction of the image's width.
        remembered: how many observations before those of a pass count too; where views take turns,
            all others stay as they were last seen.
    """

    def __init__(
        self,
        channels: int,
        known: Lighting | None,
        model: Model = "constant",
        lens: bool = False,
        fixed_to: FixedTo = "scene",
        views: int = 0,
    ) -> None:
        self.known, self.model, self.lens = known, model, lens
        self.channels, self.views = channels, views
        self.albedo = self.rest = torch.ones(channels)
        self.light = UnknownLight.dark(fixed_to, channels, views)
        self.beyond: ViewDependence | None = None
        self.blur, self.remembered = 0.0, 0
        self._solved = False
        self._hits: list[Hits] = []
        self._lattice: AnyLattice | None = None
        self._lens = LensEstimate(self.blur)

    def on(self, device: torch.device) -> Appearance:
        """The same on a device, without what was observed; this itself if it is there."""
        if self.rest.device.type == device.type:
            return self
        other = self.plain()
        other.albedo, other.rest = self.albedo.to(device), self.rest.to(device)
        other.light = replace(self.light, sh=self.light.sh.to(device))
        other.forget()
        return other

    def take(self, other: Appearance) -> None:
        """Take up what another one has learnt, wherever that is; not what lies beyond it."""
        place = self.rest.device
        self.albedo, self.rest = other.albedo.to(place), other.rest.to(place)
        self.light = replace(other.light, sh=other.light.sh.to(place))
        self.blur, self._solved = other.blur, other._solved

    def remember(self, before: Appearance) -> None:
        """Take up what another one on the same device has observed."""
        self._hits = list(before._hits)

    def begin_as(self, model: Model, fixed_to: FixedTo) -> None:
        """Take up another model, and what a light that is not known is fixed to; learn anew."""
        self.model = model
        self.light = UnknownLight.dark(fixed_to, self.channels, self.views)
        self.albedo = self.rest = torch.ones(self.channels)
        self.beyond = None
        self._solved = False
        self.forget()

    def plain(self) -> Appearance:
        """The same colour, light and lens, with nothing beyond them."""
        other = copy(self)
        other.beyond = None
        return other

    def recolored(self, lattice: Lattice, targets: Targets) -> Appearance:
        """The same light and lens, with a lattice of colours that some views alone have made.

        Args:
            lattice: the surface.
            targets: these views.
        """
        other = self.plain()
        other.lens = False
        other.forget()
        for view in range(len(targets.cameras)):
            one = targets[[view]]
            with torch.no_grad():
                other.observe(other.render(lattice, one), one, lattice)
        if other.model != "constant" and any(map(len, other._hits)):
            other._solve_colors(other._hits, lattice, SMOOTHNESS_AFTER)
        other.forget()
        return other

    def lighting(self, targets: Targets) -> Lighting:
        """The light as it stands, of some views."""
        if self.model == "radiance":
            return Lighting(ambient=1.0, headlight=None)
        return self.known or self.light.lighting(targets)

    def render(self, lattice: AnyLattice, targets: Targets) -> Rendering:
        """Images of some views with this colour and light; differentiable as `render` is.

        They are what comes before the lens. No derivative tells of what lies beyond colour and
        light.
        """
        light = self.lighting(targets)
        out = render(lattice, targets.cameras, lighting=light, albedo=self.albedo)
        if self.beyond is None:
            return out
        return self.beyond.seen(out, targets.cameras, lattice)

    def photograph(self, images: Tensor) -> Tensor:
        """What the lens makes of images `[N, H, W, C]`; differentiable. Its own adjoint."""
        return blur(images, self.blur * images.shape[2])

    def photograph_twice_(self, images: Tensor) -> Tensor:
        """What the lens makes of what it makes of images, in place and without derivatives."""
        return blur_(images, math.sqrt(2) * self.blur * images.shape[2])

    def is_blurred(self, width: int) -> bool:
        """Whether `photograph_twice_` changes images of this width."""
        return math.sqrt(2) * self.blur * width >= LEAST

    def trust(self, targets: Targets) -> Tensor:
        """How far the colour of each pixel can be explained: `[N, H, W]` in [0, 1].

        Pixels where the silhouette is only a guess are shadows, or gaps before a dark stage. One
        colour explains neither; a lattice of colours is dark there in both cases.
        """
        if self.model == "constant":
            return targets.image_weights * targets.silhouette_weights
        return targets.image_weights

    def certain(self, out: Rendering, targets: Targets) -> Tensor:
        """Pixels surely inside both shape and mask, of trusted colour: `[N, H, W]`."""
        inside = out.hit_mask & (out.silhouettes > 0.99) & (targets.silhouettes > 0.99)
        return inside & (self.trust(targets) > 0.99)

    # ------------------------------------------------------------------ learning it

    def observe(self, out: Rendering, targets: Targets, lattice: AnyLattice) -> None:
        """Look at the pixels that are certainly inside both the shape and the photograph's mask.

        Args:
            out: rendered with this appearance, C channels.
            targets: the same views.
            lattice: what was rendered; a sparse one where the surface has one colour.
        """
        self._hits.append(shared_over(targets.part, self._hits_of(out, targets), targets.views))
        self._lattice = lattice.with_values(lattice.values.detach())
        if self.lens:
            shown = out.images.detach(), targets.images, self.trust(targets)
            self._lens.observe(*shown, part=targets.part)

    def _hits_of(self, out: Rendering, targets: Targets) -> Hits:
        inside = self.certain(out, targets)
        if self.known is None and self._solved:
            inside = inside & ~targets.at_most(out.images.detach()).all(-1)
        rendered = out.images.detach()[inside].expand(-1, self.channels)
        if self.known is not None and self.model == "constant" and self.albedo.ndim == 1:
            nowhere = rendered.new_zeros(1, 3).expand(len(rendered), -1)  # one colour everywhere
            view = targets.views[:1].expand(len(rendered))
            return Hits(nowhere, view, rendered / self.albedo, targets.images[inside], rendered)
        shown_by = inside.nonzero()[:, 0]
        points = targets.cameras.unproject(out.depths.detach(), inside)
        normals = out.normals.detach()[inside]
        if self.known is None:
            light = self.light.basis(normals, targets, shown_by)
        elif self.albedo.ndim == 1:
            light = rendered / self.albedo
        else:
            light = self._shade(self.known, points, normals, targets, shown_by)
        return Hits(points, targets.views[shown_by], light, targets.images[inside], rendered)

    def irradiance(self, out: Rendering, targets: Targets, inside: Tensor) -> tuple[Tensor, Tensor]:
        """Points of the surface that pixels show, and what falls on them.

        Args:
            out: a rendering.
            targets: its views.
            inside: `[n, H, W]` bool, P of them.

        Returns:
            `[P, 3]` world units, and `[P, C]`; 1 for a radiance.
        """
        points = targets.cameras.unproject(out.depths.detach(), inside)
        normals, shown_by = out.normals.detach()[inside], inside.nonzero()[:, 0]
        if self.model == "radiance":
            light = points.new_ones(len(points), 1)
        elif self.known is None:
            basis = self.light.basis(normals, targets, shown_by)
            light = self.light.at(basis, targets.views[shown_by])
        else:
            light = self._shade(self.known, points, normals, targets, shown_by)
        return points, light.expand(-1, self.channels)

    @staticmethod
    def _shade(
        known: Lighting, points: Tensor, normals: Tensor, targets: Targets, shown_by: Tensor
    ) -> Tensor:
        """What a known light does to points that some of the views show: `[P, C]`."""
        away = targets.cameras.centers[shown_by] - points
        distances = away.norm(dim=-1)
        return known.shade(normals, away / distances[:, None], distances)

    def solve(self, smoothness: float = SMOOTHNESS) -> None:
        """Take up what fits best to the pixels observed since the last call, or remembered.

        Args:
            smoothness: ρ of the albedo, in pixels: how many of them a difference of neighbours
                counts.
        """
        if self._lattice is not None and any(hits.total for hits in self._hits):
            self._solve(self._hits, self._lattice, smoothness)
            self._solved = True
        self.forget(self.remembered)

    def _solve(self, observed: list[Hits], lattice: AnyLattice, smoothness: float) -> None:
        if self.lens:
            self.blur = self._lens.best()
        if self.model == "constant":
            self.albedo = torch.ones_like(self.rest)
        if self.known is None and self.model != "radiance":
            hits = Hits.some(observed, LIGHT_PIXELS)
            self.light = self.light.fitted(*self._light_pixels(hits))
        if self.model == "constant":
            if self.known is not None:
                self.albedo = self._best_color(observed)
            return
        dense = lattice if isinstance(lattice, Lattice) else lattice.to_dense()
        self._solve_colors(observed, dense, smoothness)

    def _solve_colors(self, observed: list[Hits], lattice: Lattice, smoothness: float) -> None:
        hits = Hits.some(observed, ALBEDO_PIXELS)
        light = self._light(hits)
        light = light.expand_as(hits.colors)
        mean = hits.colors.mean(0) / light.mean(0).clamp(min=DARK)
        self.rest = with_unlit(mean, lit_channels(light))
        start = self.albedo_on(lattice)
        self.albedo = solve_albedo(
            lattice, hits.points, light, hits.colors, smoothness, start, self.rest
        )

    def _light(self, hits: Hits) -> Tensor:
        """What falls on the points, `[P, C]` or `[P, 1]`."""
        if self.model == "radiance":
            return torch.ones_like(hits.colors)
        return hits.light if self.known is not None else self.light.at(hits.light, hits.views)

    def _robust_weights(self, hits: Hits) -> Tensor:
        """`[P, C]`: reweighting by the residual of what is in use."""
        if not self._solved:
            return torch.ones_like(hits.colors)
        return ROBUST_SCALE / (hits.rendered - hits.colors).abs().clamp(min=ROBUST_SCALE)

    def _light_pixels(self, hits: Hits) -> tuple[Tensor, ...]:
        """What `UnknownLight.fitted` asks for."""
        albedo = torch.ones_like(hits.colors)
        if self.albedo.ndim > 1 and self._solved:
            light = self.light.at(hits.light, hits.views)
            albedo = torch.where(light > DARK, hits.rendered / light, 0)
        return hits.light, hits.views, albedo, hits.colors, self._robust_weights(hits)

    def meet(self, lattice: Lattice, targets: Targets) -> None:
        """Learn what light views were taken in that nothing was fitted to, if each has its own.

        Args:
            lattice: the shape, held fixed, as are its colours.
            targets: such views.
        """
        if self.known is not None or self.model == "radiance" or self.light.fixed_to != "view":
            return
        for _ in range(MEETINGS):
            with torch.no_grad():
                hits = self._hits_of(self.render(lattice, targets), targets)
            self.light = self.light.met(*self._light_pixels(hits))

    def _best_color(self, observed: list[Hits]) -> Tensor:
        """The one albedo `[C]` that fits best under a known light."""
        strength = shown = torch.zeros_like(self.rest, dtype=torch.float64)
        for hits in observed:
            light, weights = hits.light.double(), self._robust_weights(hits)
            strength = strength + (weights * light**2).sum(0)
            shown = shown + (weights * light * hits.colors).sum(0)
        if observed[0].shared is not None:
            ranks = observed[0].shared.part.ranks
            strength, shown = ranks.sum(strength), ranks.sum(shown)
        lit = strength > UNLIT**2 * strength.max()
        color = shown / torch.where(lit, strength, 1)
        return with_unlit(color.float().clamp(min=1e-3), lit)

    def albedo_on(self, lattice: Lattice) -> Tensor:
        """The albedo at the vertices of a lattice of the same box: `[X, Y, Z, C]`."""
        shape = tuple(lattice.values.shape)
        if self.albedo.ndim == 1:
            return self.rest.expand(*shape, -1)
        return resampled(self.albedo, shape)

    def forget(self, but: int = 0) -> None:
        """Drop what was observed, but for the last few observations."""
        self._hits = self._hits[max(len(self._hits) - but, 0) :]
        self._lattice = None
        self._lens = LensEstimate(self.blur)

    # ------------------------------------------------------------------ keeping it

    def state(self) -> dict[str, Tensor]:
        """Tensors that `restore` needs."""
        names = {"model": MODELS.index(self.model), "fixed_to": FIXED_TO.index(self.light.fixed_to)}
        blur = torch.tensor(self.blur, dtype=torch.float64)
        numbers = {name: torch.tensor(n) for name, n in names.items()}
        beyond = {} if self.beyond is None else self.beyond.packed()
        colors = packed(self.albedo, self.rest)
        return {"sh": self.light.sh, "blur": blur, **numbers, **colors, **beyond}

    def restore(self, tensors: dict[str, Tensor], vertices: int) -> None:
        """Take up the state that an earlier run saved.

        Args:
            tensors: of its file.
            vertices: of the lattice that they belong to.

        Raises:
            ValueError: tensors of something else.
        """
        self.albedo, self.rest = unpacked(tensors, vertices)
        if len(self.rest) != self.channels:
            raise ValueError(f"{len(self.rest)} colours, of photographs with {self.channels}")
        self.light = UnknownLight(FIXED_TO[int(tensors["fixed_to"])], tensors["sh"])
        self.blur, self.model = float(tensors["blur"]), MODELS[int(tensors["model"])]
        self.beyond = ViewDependence.unpacked(tensors, vertices)
        self._solved = True
        self.forget()

    def description(self) -> dict[str, object]:
        """As JSON: the model, one albedo (of a lattice the mean), the light if it was estimated."""
        mean = self.albedo.reshape(-1, self.channels).mean(0)
        light = {} if self.known else {"lighting": self.light.description()}
        return {"model": self.model, "albedo": mean.tolist(), "blur": self.blur, **light}
