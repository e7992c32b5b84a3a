"""Seconds and Chamfer distance of `multiview fit` on a card beside those of the CPU.

    python tests/benchmarks/fit_on_device.py FOLDER [--mesh MESH] [--resolutions 64 128]

ray traces 26 views of a mesh in a known light (default: that of `sdfrender bench`), fits them on
each device, and writes FOLDER/fits.json after each fit. The card goes first, and its first fit
twice: kernels are compiled in the first, which does not count. Seconds are those of the
optimisation, without the results.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

from multiview.benchmark.config import SceneSpec
from multiview.benchmark.scenes import make_scene
from multiview.config import FitConfig
from multiview.fit import fit
from multiview.levels.state import Fit
from sdfrender import extract_mesh, metrics, save_mesh
from sdfrender.bench.workloads import creature


def timed(scene: Path, out: Path, resolution: int, device: Any) -> dict[str, Any]:
    """One fit without its results: what it took, and how far its surface is from the mesh."""
    began = time.monotonic()
    with patch("multiview.fit.save_results") as results:
        fit(FitConfig(scene, out, resolution=resolution, device=device))
    wall = time.monotonic() - began
    state: Fit = results.call_args.args[0]
    reference = results.call_args.args[2]
    found = metrics.compare_meshes(extract_mesh(state.lattice), reference)
    return {
        "device": str(state.device),
        "resolution": resolution,
        "seconds": state.seconds,
        "wall": wall,
        "chamfer": found["chamfer_l1"],
    }


def main() -> None:
    """Fit, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mesh", type=Path)
    parser.add_argument("--resolutions", type=int, nargs="+", default=(64, 128))
    parser.add_argument("--devices", nargs="+", default=("cuda", "cpu"))
    parser.add_argument("--image-size", type=int, default=256)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as away:
        folder = Path(away)
        mesh = options.mesh or folder / "creature.ply"
        if options.mesh is None:
            save_mesh(mesh, creature())
        make_scene(mesh, folder / "scene", SceneSpec(options.image_size))
        first = options.resolutions[0]
        plan = [(device, n) for device in options.devices for n in options.resolutions]
        for number, (device, resolution) in enumerate([(options.devices[0], first), *plan]):
            row = timed(folder / "scene", folder / f"run-{number}", resolution, device)
            rows.append({**row, "compiled": number > 0})
            print(json.dumps(rows[-1]), flush=True)
            (options.folder / "fits.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
