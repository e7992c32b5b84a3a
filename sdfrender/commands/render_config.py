"""Settings of `sdfrender render`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from sdfrender.options import Flag


@dataclass(frozen=True)
class RenderConfig:
    """What `sdfrender render` is told; its fields are the options.

    Args:
        shape: mesh (.obj .ply .glb .stl .off), lattice (.safetensors .npz .sdf), or the folder of a
            run of multiview fit: its own colours and light are what the views show, or, with
            --light FILE.hdr, its materials (multiview materials RUN) in that light.
        out: folder to write.
        views: cameras to train on. The cube has 26.
        rig: cube: from the faces, edges and corners of a cube. orbit: a ring about the y axis.
        width: pixels.
        height: pixels.
        fov_deg: vertical field of view, degrees.
        elevation_deg: height of the orbit above the horizon, degrees.
        distance: from the middle of the shape to the cameras, in its own units. By default the
            shape just fits in view.
        supersampling: rays per pixel side, odd; for meshes (a lattice has analytic coverage).
        smooth: shade a mesh with interpolated vertex normals, not with one normal per triangle.
        albedo: red, green and blue reflectance, 0 to 1.
        light: studio: headlight 0.7 and 0.3 from the upper right. headlight: 1.0 at the camera.
            sun: 0.8 from the upper right and 0.2 from everywhere. sdfdiff: 10 / d² at the camera,
            d the distance to the surface. Of a run with materials: a light all around in a .hdr
            file (+y up, linear), such as the run's own environment.hdr.
        exposure: with a .hdr file, what pictures are multiplied by.
        size: scale the shape until the longest side of its box is this, and centre the box.
        bits: per channel of the PNG files.
        held_out: further views, in random directions, that the scene keeps for testing.
        seed: of those directions.
        depth: also write DIR/depth/NAME.npz, depths [H, W]: camera z at the pixels' centres, in
            units of the shape; infinite where nothing is.
        normals: also write DIR/normal/NAME.png: 16 bits, n / 2 + 1/2 in the camera's axes x right,
            y up, z towards the camera; black where nothing is.
        force: replace a scene that is already there.
    """

    shape: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SHAPE")]
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    views: int = 26
    rig: Literal["cube", "orbit"] = "cube"
    width: int = 256
    height: int = 256
    fov_deg: float = 40.0
    elevation_deg: float = 20.0
    distance: float | None = None
    supersampling: int = 3
    smooth: Flag = False
    albedo: tuple[float, float, float] = (0.8, 0.8, 0.8)
    light: str = "studio"
    exposure: float = 1.0
    size: float | None = None
    bits: Literal[8, 16] = 8
    held_out: int = 0
    seed: int = 0
    depth: Flag = False
    normals: Flag = False
    force: Flag = False
