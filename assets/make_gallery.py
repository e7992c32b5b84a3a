"""Pictures of the documentation, all made by what they show.

Run from the root of the repository: python assets/make_gallery.py

It fits the demo scene into runs/demo unless that holds a run, predicts the shape of the mug in
assets/singleview, and writes assets/demo.png and assets/gallery/.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import Tensor

from multiview.config import FitConfig
from multiview.fit import fit
from multiview.photo.appearance import Appearance
from multiview.photo.targets import Targets
from multiview.results.evaluate import predict
from multiview.results.report.forming import stages
from multiview.run_folder import RunFolder, read_config
from multiview.scenes.run_scene import scene_of
from sdfrender import Cameras, Lattice, load_lattice, render
from sdfrender.files.formats.pngs import write_png
from sdfrender.files.images import read_image
from sdfrender.report.pictures import for_display
from sdfrender.report.turntable import around, display_frame, in_clay
from sdfrender.view.lighting import STUDIO
from singleview.demo import demo
from singleview.predict.predict import turntable

ASSETS = Path(__file__).parent
GALLERY = ASSETS / "gallery"
RUN = Path("runs/demo")
VIEWS = (28, 31, 1)  # two held out, one fitted
STAGES, SIZE = 5, 400
MARGIN = 8  # pixels around what is shown
PAPER = 1.0  # white, behind what has no background


def main() -> None:
    """Write all pictures."""
    if not (RUN / "metrics.json").exists():
        fit(FitConfig(ASSETS / "demo", RUN))
    run = RunFolder(read_config(RUN))
    scene = scene_of(run.config)
    result = load_lattice(RUN / "lattice.safetensors")
    moments = [moment.lattice for moment in stages(run, result, scene.offset)]
    appearance = Appearance(scene.images.shape[-1], scene.lighting)
    appearance.restore(run.load_appearance())
    targets = Targets.of(scene, VIEWS)
    GALLERY.mkdir(exist_ok=True)

    rows = [strip(targets.images)]
    for lattice in (moments[0], result):
        seen = [predict(lattice, appearance, targets, view)[0] for view in range(len(VIEWS))]
        rows.append(strip(torch.stack(seen)))
    save(ASSETS / "demo.png", for_display(torch.cat(rows).clamp(0, 1)))
    save(GALLERY / "forming.png", forming(moments, display_frame(scene.cameras)))
    save(GALLERY / "outputs.png", outputs(result, targets.cameras[0].resized(480, 400)))
    save(GALLERY / "mug.png", mug())


def forming(moments: list[Lattice], frame: Tensor) -> Tensor:
    """The surface from the start to the result, `[H, STAGES * W, 3]`."""
    chosen = torch.linspace(0, len(moments) - 1, STAGES).round().long().tolist()
    camera = around(moments[-1], frame, torch.tensor([0.6]), SIZE)
    pictures = cropped(torch.stack([in_clay(moments[k], camera) for k in chosen]))
    return strip(pictures[..., 3:] * pictures[..., :3] + (1 - pictures[..., 3:]) * PAPER)


def outputs(lattice: Lattice, camera: Cameras) -> Tensor:
    """What `render` returns of one view: image, silhouette, depth, normals."""
    out = render(lattice, camera, lighting=STUDIO)
    alpha, hit = out.silhouettes[0, ..., None], out.hit_mask[0, ..., None]
    depth = out.depths[0, ..., None]
    near, far = (float(x) for x in (depth[hit].min(), depth[hit].max()))
    shades = torch.where(hit, 0.9 * (far - depth) / (far - near) + 0.1, 0.0)
    normals = torch.where(hit, (out.normals[0] + 1) / 2, 0.0)
    pictures = (for_display(out.images[0]), alpha, shades, normals)
    stacked = torch.stack([torch.cat((x.expand(-1, -1, 3), alpha), -1) for x in pictures])
    return strip(cropped(stacked)[..., :3])


def mug() -> Tensor:
    """A photograph of the mug, and what the single-view network makes of it."""
    with tempfile.TemporaryDirectory() as folder:
        prediction = demo(Path(folder))
        colors, alpha = read_image(prediction.picture)
        assert alpha is not None
        image = torch.from_numpy(colors * alpha[..., None]).float().expand(-1, -1, 3)
        views = for_display(turntable(prediction.lattice, 5, image.shape[1])).expand(-1, -1, -1, 3)
    return strip(torch.cat((image[None], views)))


def cropped(pictures: Tensor) -> Tensor:
    """`[N, H, W, C]` without the rims in which the last channel is 0 in all of them."""
    shown = pictures[..., -1].amax(0) > 0
    rows, columns = shown.any(1).nonzero()[:, 0], shown.any(0).nonzero()[:, 0]
    top, left = (max(0, int(x[0]) - MARGIN) for x in (rows, columns))
    return pictures[:, top : int(rows[-1]) + MARGIN, left : int(columns[-1]) + MARGIN]


def strip(pictures: Tensor) -> Tensor:
    """`[N, H, W, C]` side by side."""
    return torch.cat(list(pictures), 1)


def save(path: Path, picture: Tensor) -> None:
    """Write `[H, W, 3]` in [0, 1]."""
    write_png(path, (picture.clamp(0, 1) * 255).round().byte().numpy())
    print(f"wrote {path}, {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
