"""The picture in README.md: images, starting hull and result of the demo, from the same cameras.

multiview demo --out runs/demo && python assets/make_picture.py
"""

from pathlib import Path

import torch

from multiview.appearance import Appearance
from multiview.evaluate import predict
from multiview.optimize.targets import Targets
from multiview.results import appearance_tensors
from multiview.scenes import load_scene
from sdfrender import load_lattice
from sdfrender.pngs import write_png
from sdfrender.report.pictures import for_display

ASSETS = Path(__file__).parent
RUN = Path("runs/demo")
VIEWS = (28, 31, 1)  # two held out, one fitted


def main() -> None:
    """Write `assets/demo.png`."""
    scene = load_scene(ASSETS / "demo")
    appearance = Appearance(scene.images.shape[-1], scene.lighting)
    appearance.restore(appearance_tensors(RUN / "appearance.json"))
    targets = Targets.of(scene, VIEWS)
    start = load_lattice(RUN / "checkpoints" / "start.safetensors")
    result = load_lattice(RUN / "lattice.safetensors")
    rows = [
        torch.cat(list(targets.images), 1),
        *(
            torch.cat([predict(x, appearance, targets, view)[0] for view in range(len(VIEWS))], 1)
            for x in (start, result)
        ),
    ]
    picture = for_display(torch.cat(rows, 0).clamp(0, 1))
    write_png(ASSETS / "demo.png", (picture * 255).round().byte().numpy())


if __name__ == "__main__":
    main()
