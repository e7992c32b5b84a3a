"""The viewer: a server on this machine alone, and what its page shows and asks."""

from __future__ import annotations

import html
import io
import math
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from functools import partial
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.geometry.lattice import Lattice
from sdfrender.meshes.colors import colored_glb
from sdfrender.meshes.extraction import extract_mesh
from sdfrender.report.model import vertex_colors
from sdfrender.report.turntable import display_frame
from sdfrender.viewer import PORT, need_viser
from sdfrender.viewer.exhibit import Errors, Exhibit, Views
from sdfrender.viewer.guard import Guard, check_guarded, guarding
from sdfrender.viewer.lights import Lights

if TYPE_CHECKING:
    import viser

HOST = "127.0.0.1"  # nobody else's machine sees it
PORTS = 1 << 16
FOV = math.radians(40)
CLAY = (165, 160, 151)  # red, green, blue, of 255
FITTED, HELD_OUT = (0, 114, 178), (230, 159, 0)  # Okabe and Ito's blue and orange
LEVELS = 0.25  # of the shortest side of the box: how far the level can go
SCALE_TOP = 0.98  # share of the vertices whose error the colours tell apart
COLOR_MAP = "viridis"  # even in lightness, for people with any colour vision
LATTICE, MESH, COLORS, ERRORS = "lattice", "mesh", "mesh in colour", "error on the mesh"
MATERIALS = "materials"
NO_SURFACE = "There is no surface at this level."


class Viewer:
    """A page that shows an exhibit. It is there until `close`.

    Args:
        exhibit: what to show.
        port: to listen at; if it is taken, the next that is free.
        allowed: names of hosts, beside this machine's own, under which the page is reached.

    Raises:
        InputError: no port is free, or viser is missing or of a version that cannot be used.
    """

    def __init__(self, exhibit: Exhibit, port: int = PORT, allowed: Sequence[str] = ()) -> None:
        self._drawing = threading.RLock()
        self._lattice, self._views = exhibit.lattice, exhibit.views
        self._drawn: tuple[Lattice, float] | None = None  # what is shown, at which level
        self._surfaces: dict[str, Any] = {}  # sent to the page, by their name in the menu
        self._others: dict[str, Callable[[], Any]] = {}  # what sends those that no one asked for
        self.guard = Guard(allowed)
        self.server = _serve(port, self.guard)
        self.port = self.server.get_port()
        self.server.gui.configure_theme(show_logo=False, show_share_button=False, dark_mode=True)
        self.server.gui.set_panel_label(exhibit.name)
        self._place_camera(exhibit)
        self._add_surfaces(exhibit)
        if exhibit.views is not None:
            self._add_cameras(exhibit.views, exhibit.bounds)

    @property
    def url(self) -> str:
        """Where a browser finds the page; the token in it lets nobody else in."""
        return f"http://{HOST}:{self.port}/?token={self.guard.token}"

    @property
    def directions(self) -> str:
        """How to open the page, from here or from another machine."""
        tunnel = f"ssh -L {self.port}:{HOST}:{self.port} {socket.gethostname()}"
        return f"view it at {self.url}\nfrom another machine, first: {tunnel}"

    def close(self) -> None:
        """End the server."""
        with redirect_stdout(io.StringIO()):  # it says so
            self.server.stop()

    # ------------------------------------------------------------------ the surface

    def show_lattice(self, lattice: Lattice) -> None:
        """Show another lattice in the place of the one before."""
        self._lattice = lattice
        self._draw_lattice()

    @property
    def level(self) -> float:
        """World units: the surface shown lies where the lattice's values are this."""
        return float(self._level.value)

    def _draw_lattice(self) -> None:
        """Extract and send the surface, unless that has been done."""
        with self._drawing:  # one at a time; those that wait find the last one's work done
            lattice, level = self._lattice, self.level
            if lattice is None:
                return
            if self._drawn is not None and self._drawn[0] is lattice and self._drawn[1] == level:
                return
            self._drawn = (lattice, level)
            try:
                mesh = extract_mesh(lattice, level)
            except InputError:
                mesh = None
            self._notice.content = "" if mesh is not None else NO_SURFACE
            if mesh is not None:
                self._surfaces[LATTICE] = self.server.scene.add_mesh_simple(
                    "/surface/lattice", mesh.vertices, mesh.faces, color=CLAY, side="double"
                )
            self._choose()

    def _choose(self) -> None:
        """Show the surface that the menu says. A page opens sooner with one than with all."""
        with self._drawing:
            if self._menu.value in self._others:
                self._surfaces[self._menu.value] = self._others.pop(self._menu.value)()
            for name, handle in self._surfaces.items():
                missing = name == LATTICE and bool(self._notice.content)
                handle.visible = name == self._menu.value and not missing
        on_lattice, on_errors = self._menu.value == LATTICE, self._menu.value == ERRORS
        self._level.visible = self._notice.visible = on_lattice
        for part in self._scale:
            part.visible = on_errors

    def _add_surfaces(self, exhibit: Exhibit) -> None:
        gui, scene = self.server.gui, self.server.scene
        mesh, errors = exhibit.mesh, exhibit.errors
        names = [LATTICE] if exhibit.lattice is not None else []
        if mesh is not None:
            self._others[MESH] = lambda: scene.add_mesh_simple(
                "/surface/mesh", mesh.vertices, mesh.faces, color=CLAY, side="double"
            )
            colors = vertex_colors(mesh)
            if colors is not None:
                self._others[COLORS] = lambda: scene.add_glb(
                    "/surface/colors", colored_glb(mesh, torch.from_numpy(colors) / 255)
                )
            if errors is not None:
                self._others[ERRORS] = lambda: scene.add_glb(
                    "/surface/errors", colored_glb(mesh, colors_of(errors), lit=True)
                )
        shown = exhibit.materials
        if shown is not None:
            self._others[MATERIALS] = lambda: scene.add_glb(
                "/surface/materials", shown.glb, position=shown.position
            )
        names += self._others
        reach = LEVELS * float((exhibit.bounds[1] - exhibit.bounds[0]).min())
        step = float(f"{reach / 100:.1g}")
        with gui.add_folder("Surface"):
            self._menu = gui.add_dropdown("show", names, initial_value=names[0])
            self._level = gui.add_slider("level", -100 * step, 100 * step, step, 0.0)
            self._notice = gui.add_markdown("")
            self._scale = [] if errors is None else _add_scale(gui, errors)
        self._menu.on_update(lambda _: self._choose())
        self._level.on_update(lambda _: self._draw_lattice())
        self._draw_lattice()
        self._choose()

    # ------------------------------------------------------------------ cameras

    def _place_camera(self, exhibit: Exhibit) -> None:
        low, high = exhibit.bounds.double()
        middle, radius = (low + high) / 2, float((high - low).norm()) / 2
        if exhibit.views is None:
            frame = torch.eye(3, dtype=torch.float64)
        else:
            frame = display_frame(exhibit.views.cameras)
        aside = torch.tensor([0.5, 0.4, 1.0], dtype=torch.float64)
        eye = middle + 2.5 * radius * aside / aside.norm() @ frame
        self.server.scene.set_up_direction(frame[1].numpy())
        camera = self.server.initial_camera
        camera.position, camera.look_at = eye.numpy(), middle.numpy()
        camera.fov, camera.up = FOV, frame[1].numpy()
        camera.near, camera.far = 0.01 * radius, 100 * radius
        found = None if exhibit.materials is None else exhibit.materials.light
        self.lights = Lights(self.server, frame, found)

    def _add_cameras(self, views: Views, bounds: Tensor) -> None:
        gui, scene, cameras = self.server.gui, self.server.scene, views.cameras
        size = 0.07 * float((cameras.centers - bounds.mean(0)).norm(dim=-1).median())
        fovs = 2 * torch.atan(0.5 * cameras.height / cameras.Ks[:, 1, 1])
        parent = scene.add_frame("/cameras", show_axes=False)
        for k in range(len(cameras)):
            handle = scene.add_camera_frustum(
                f"/cameras/{k}",
                float(fovs[k]),
                cameras.width / cameras.height,
                scale=size,
                thickness=2.0,
                thickness_units="screen",
                color=FITTED if views.fitted[k] else HELD_OUT,
                image=views.pictures[k].numpy(),
                wxyz=_quaternion(cameras.c2w[k]),
                position=cameras.centers[k].numpy(),
                cast_shadow=False,
                receive_shadow=False,
            )
            handle.on_click(partial(self._stand_at, views, k, bounds))
        with gui.add_folder("Cameras"):
            shown = gui.add_checkbox("show", True)
            gui.add_markdown(
                "A click on a camera stands where it stood; then hide the cameras to see the "
                "surface in the photograph's place. Blue: fitted"
                + (", orange: held out." if not all(views.fitted) else ".")
            )
            self._view_name = gui.add_html("")
        shown.on_update(lambda _: setattr(parent, "visible", shown.value))

    def _stand_at(self, views: Views, k: int, bounds: Tensor, event: Any) -> None:
        """Move the camera of the browser that asks to view `k`."""
        client = event.client
        c2w, eye = views.cameras.c2w[k], views.cameras.centers[k]
        reach = float((bounds.mean(0) - eye) @ c2w[:3, 2])
        with client.atomic():
            client.camera.position = eye.numpy()
            client.camera.up_direction = (-c2w[:3, 1]).numpy()
            client.camera.look_at = (eye + reach * c2w[:3, 2]).numpy()
        self._view_name.content = html.escape(f"At {views.names[k]}.")


def colors_of(errors: Errors) -> Tensor:
    """`[V, 3]` sRGB, from dark (none) to light (the largest)."""
    shares = (errors.values / _top(errors)).clamp(0, 1).double().numpy()
    return torch.from_numpy(matplotlib.colormaps[COLOR_MAP](shares)[:, :3])


def _top(errors: Errors) -> float:
    """The error that the lightest colour stands for."""
    return max(float(errors.values.double().quantile(SCALE_TOP)), 1e-12)


def _add_scale(gui: Any, errors: Errors) -> list[Any]:
    ramp = matplotlib.colormaps[COLOR_MAP](np.linspace(0, 1, 256), bytes=True)[None, :, :3]
    return [
        gui.add_image(np.repeat(ramp, 12, 0), format="png"),
        gui.add_html(
            html.escape(
                f"{errors.title}: from 0 to {_top(errors):.3g} and above, "
                f"mean {float(errors.values.mean()):.3g}."
            )
        ),
    ]


def _quaternion(c2w: Tensor) -> NDArray[np.float64]:
    """`[4]` w x y z of a camera's rotation."""
    x, y, z, w = Rotation.from_matrix(c2w[:3, :3].double().numpy()).as_quat()
    return np.array([w, x, y, z])


def _serve(port: int, guard: Guard) -> viser.ViserServer:
    """A server that only this machine reaches, behind a guard, and that does not talk."""
    need_viser()
    import viser

    with redirect_stdout(io.StringIO()):
        with guarding(guard):
            server = viser.ViserServer(HOST, free_port(port), verbose=False)
        try:
            check_guarded(HOST, server.get_port())
        except BaseException:
            server.stop()
            raise
    return server


def free_port(first: int) -> int:
    """The first port from `first` on that nothing listens at.

    Raises:
        InputError: there is none.
    """
    for port in range(first, PORTS):
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
            try:
                trial.bind((HOST, port))
            except OSError:
                continue
            return port
    raise InputError(f"--port: need a port that is free, none is from {first} to {PORTS - 1}")
