"""Render a shape, fit a lattice to the images with a loss of your own, extract the mesh.

python assets/tutorial.py OUT.ply        (ten seconds on one core)
"""

import sys

import torch
from torch.nn.functional import huber_loss

import sdfrender as sr

# 1. A shape, and images of it. `values[i, j, k]` are signed distances, negative inside.
shape = sr.primitives.smooth_union(
    sr.primitives.torus(0.5, 0.18), sr.primitives.capsule((-0.5, 0, 0), (0.5, 0, 0), 0.13), 0.1
)
truth = sr.Lattice.from_function(shape, resolution=64)
cameras = sr.Cameras.cube(distance=3.2, width=72, height=64)  # the 26 views of SDFDiff
light = sr.Lighting(headlight=sr.Headlight(0.6), directional=[sr.Directional((0.3, 0.8, 0.5), 0.4)])
with torch.no_grad():
    photographs = sr.render(truth, cameras, lighting=light)

# 2. A loss of our own. All that `render` returns can be part of one: images, silhouettes, depths
#    and normals are differentiable in the lattice. The shape is known to be its own mirror image
#    in x, so half of each view tells about the other half, too.


def loss_of(lattice: sr.Lattice, views: torch.Tensor) -> torch.Tensor:
    """How far some views are from the photographs, and the shape from its mirror image."""
    seen = sr.render(lattice, cameras[views], lighting=light)
    colors = huber_loss(seen.images, photographs.images[views], delta=0.1)
    outlines = (seen.silhouettes - photographs.silhouettes[views]).square().mean()
    mirror = (lattice.values - lattice.values.flip(0)).square().mean()
    return colors + outlines + 0.1 * mirror


# 3. The fit: coarse to fine, from a sphere, by Adam on a few random views at a time. After some
#    steps `redistance` makes the values distances again, without moving the surface.
torch.manual_seed(0)
lattice = sr.Lattice.sphere(0.6, resolution=16)
for resolution, steps in ((16, 60), (32, 90)):
    lattice = lattice.resample(resolution)
    cell = float(lattice.spacing.max())
    for start in range(0, steps, 10):
        values = lattice.redistance().values.clone().requires_grad_()
        adam = torch.optim.Adam([values], lr=(0.3 - 0.25 * start / steps) * cell)
        for _ in range(10):
            views = torch.randperm(len(cameras))[:6]
            loss = loss_of(lattice.with_values(values), views)
            adam.zero_grad()
            loss.backward()
            adam.step()
        lattice = lattice.with_values(values.detach())
        print(f"{resolution}³, step {start + 10}: loss {loss.item():.5f}")

# 4. The mesh, and how close it is. It is watertight, outward, and in the frame of the cameras.
mesh = sr.extract_mesh(lattice.redistance())
distance = sr.metrics.chamfer(mesh, sr.extract_mesh(truth)) / 1.4  # of the longest side
print(f"{len(mesh.faces)} triangles, Chamfer distance {distance:.4f} of the shape's size")
if len(sys.argv) > 1:
    sr.save_mesh(sys.argv[1], mesh)
