"""Ten photographs of objects that no network has seen."""

from __future__ import annotations

from photographs.camera import Scene
from photographs.shapes import airplane, chair, cup, table, vase

WOOD, WHITE, GREY, BLUE = (0.32, 0.19, 0.1), (0.8, 0.8, 0.78), (0.4, 0.4, 0.4), (0.1, 0.25, 0.6)

TEN = (
    Scene("mug-on-table", "cup", cup(), (0.75, 0.72, 0.65), ground=WOOD, wall=(0.45, 0.4, 0.33)),
    Scene("chair-soft-shadow", "chair", chair(), (0.45, 0.3, 0.2), ground=(0.75, 0.75, 0.75),
          wall=(0.85, 0.85, 0.85), softness=3.0),
    Scene("dark-chair", "chair", chair(0.68, 0.36), (0.03, 0.03, 0.035), ground=(0.6, 0.58, 0.55),
          wall=(0.65, 0.63, 0.6), azimuth_deg=-40.0),
    Scene("light-plane", "airplane", airplane(), (0.7, 0.72, 0.75), ground=None,
          wall=(0.25, 0.45, 0.85), azimuth_deg=50.0, elevation_deg=25.0),
    Scene("red-cup", "cup", cup(0.5, 0.48, 0.08), (0.6, 0.06, 0.05), ground=(0.8, 0.8, 0.8),
          wall=(0.85, 0.85, 0.85), azimuth_deg=-30.0, light=(1.0, 0.9, 0.75)),
    Scene("striped-vase", "vase", vase(), (0.7, 0.68, 0.6), stripes=BLUE, ground=(0.5, 0.42, 0.3),
          wall=(0.55, 0.48, 0.36), size=(120, 160), softness=8.0),
    Scene("wooden-table", "table", table(), (0.42, 0.25, 0.13), ground=(0.3, 0.32, 0.34),
          wall=(0.5, 0.52, 0.55), lamp=(-0.5, 1.0, 0.3), shift=(0.04, -0.03)),
    Scene("white-table", "table", table(0.6, 0.5), WHITE, ground=(0.16, 0.2, 0.16),
          wall=(0.25, 0.28, 0.25), horizon=1.0, azimuth_deg=-35.0),
    Scene("green-vase", "vase", vase((0.3, 0.34, 0.3, 0.2, 0.2, 0.3)), (0.05, 0.16, 0.08),
          ground=(0.65, 0.6, 0.52), wall=(0.7, 0.68, 0.62), lamp=(-0.9, 0.8, 0.4), sky=0.3,
          size=(128, 128)),
    Scene("dark-plane", "airplane", airplane(0.7, 0.1), (0.1, 0.1, 0.12), ground=None,
          wall=(0.8, 0.82, 0.85), azimuth_deg=-130.0, elevation_deg=35.0, size=(140, 140)),
)  # fmt: skip
