"""Mitsuba 3's `sdfgrid` on its LLVM backend: `pip install mitsuba`, and a libLLVM of version 16 on.

Its rays meet the same trilinear function, and the loss is that of the other candidates: the light
at the eye, depths and normals. Its smooth normals are not ours, so neither is its gradient. It has
no coverage without sampling. A step with derivatives starts from new values, for which Mitsuba
rebuilds its tree of cells; its rays are made beforehand.
"""

from __future__ import annotations

import ctypes.util
import importlib
import importlib.util
import os
import subprocess
import sys
from typing import Any

import torch
from torch import Tensor

from sdfrender.bench.candidates import Cotangents, Seen, Session, Task, Unavailable
from sdfrender.bench.workloads import BOX, BenchScene

VARIANT = "llvm_ad_rgb"
LIBRARY = "DRJIT_LIBLLVM_PATH"
VERSIONS = range(24, 15, -1)  # of LLVM; older ones abort
# Run in a process of its own first: with a library that it cannot use, Mitsuba aborts.
TRIAL = f"""
import mitsuba, drjit
mitsuba.set_variant({VARIANT!r})
drjit.eval(mitsuba.Float([1, 2]) + drjit.arange(mitsuba.Float, 2))
drjit.sync_thread()
"""


def open_session(scene: BenchScene, task: Task, cotangents: Cotangents) -> Session:
    """Mitsuba with the scene loaded.

    Raises:
        Unavailable: Mitsuba or its LLVM is not here, or does not run.
    """
    if importlib.util.find_spec("mitsuba") is None:
        raise Unavailable("not installed (pip install mitsuba)")
    if LIBRARY not in os.environ:
        found = filter(None, (ctypes.util.find_library(f"LLVM-{n}") for n in VERSIONS))
        library = next(found, None)
        if library is None:
            raise Unavailable(f"no libLLVM of version 16 or newer; {LIBRARY} can name one")
        os.environ[LIBRARY] = library
    trial = subprocess.run(
        [sys.executable, "-c", TRIAL], capture_output=True, text=True, check=False
    )
    if trial.returncode:
        words = (trial.stderr.strip().splitlines() or [f"exit code {trial.returncode}"])[-1]
        raise Unavailable(f"does not run with {LIBRARY}={os.environ[LIBRARY]}: {words}")
    return MitsubaSession(scene, cotangents)


class MitsubaSession:
    """An `sdfgrid` scaled to the box, and the rays of all views in one batch."""

    def __init__(self, scene: BenchScene, cotangents: Cotangents) -> None:
        self.mi: Any = importlib.import_module("mitsuba")
        self.dr: Any = importlib.import_module("drjit")
        mi, dr = self.mi, self.dr
        mi.set_variant(VARIANT)
        dr.set_thread_count(torch.get_num_threads())

        values = scene.lattice.values
        self.side = side = BOX[1][0] - BOX[0][0]
        # [Z, Y, X, 1] over [0, 1]³, distances in its units
        self.grid = mi.TensorXf((values / side).permute(2, 1, 0)[..., None].contiguous().numpy())
        self.scene = mi.load_dict(
            {
                "type": "scene",
                "lattice": {
                    "type": "sdfgrid",
                    "grid": self.grid,
                    "normals": "smooth",
                    "to_world": mi.ScalarTransform4f().translate(list(BOX[0])).scale(side),
                },
            }
        )
        self.parameters = mi.traverse(self.scene)
        self.name = next(name for name in self.parameters.keys() if name.endswith("grid"))  # noqa: SIM118

        cameras = scene.cameras
        o, d = cameras.rays()
        self.ray = mi.Ray3f(mi.Point3f(self._columns(o)), mi.Vector3f(self._columns(d)))
        cosines = torch.einsum("nhwi,ni->nhw", d, cameras.c2w[:, :3, 2])
        self.cosines = mi.Float(cosines.flatten().numpy())
        self.shape = cosines.shape
        self.v_images = mi.Float(cotangents.images.flatten().numpy())
        self.v_depths = mi.Float(cotangents.depths.flatten().numpy())
        self.v_normals = mi.Vector3f(self._columns(cotangents.normals))
        dr.eval(self.ray, self.cosines, self.v_images, self.v_depths, self.v_normals)
        dr.sync_thread()

    def forward(self) -> None:
        """Render, without derivatives."""
        with self.dr.suspend_grad():
            self.dr.eval(*self._outputs())
        self.dr.sync_thread()

    def forward_backward(self) -> None:
        """Render the lattice as if its values were new, then derive the loss in them."""
        self._gradient()

    def seen(self) -> Seen:
        """Do both once, and return the results."""
        with self.dr.suspend_grad():
            hit, _, depths, _ = self._outputs()
        gradient = torch.tensor(self._gradient().numpy())[..., 0].permute(2, 1, 0) / self.side
        return Seen(
            torch.tensor(hit.numpy()).view(self.shape),
            torch.tensor(depths.numpy()).view(self.shape),
            gradient.contiguous(),
        )

    def _outputs(self) -> tuple[Any, Any, Any, Any]:
        """Hits, images, depths and normals of all rays."""
        dr = self.dr
        flags = int(self.mi.RayFlags.All)
        found = self.scene.ray_intersect(self.ray, ray_flags=flags, coherent=True)
        hit, normals = found.is_valid(), found.sh_frame.n
        images = dr.select(hit, dr.maximum(0, -dr.dot(normals, self.ray.d)), 0)
        depths = dr.select(hit, found.t * self.cosines, dr.inf)
        return hit, images, depths, dr.select(hit, normals, 0)

    def _gradient(self) -> Any:
        dr = self.dr
        grid = self.mi.TensorXf(self.grid)
        dr.enable_grad(grid)
        self.parameters[self.name] = grid
        self.parameters.update()
        hit, images, depths, normals = self._outputs()
        loss = images * self.v_images + dr.dot(normals, self.v_normals)
        loss += dr.select(hit, depths * self.v_depths, 0)
        dr.backward(dr.sum(loss))
        gradient = dr.grad(self.parameters[self.name])
        dr.eval(gradient)
        dr.sync_thread()
        return gradient

    @staticmethod
    def _columns(x: Tensor) -> Any:
        """`[..., 3]` as `[3, P]`."""
        return x.reshape(-1, 3).T.contiguous().numpy()
