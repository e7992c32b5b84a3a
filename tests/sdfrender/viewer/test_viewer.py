"""The viewer: what its server holds, what it asks of a fit, what a browser shows."""

from __future__ import annotations

import io
import math
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import imageio.v3 as iio
import numpy as np
import pytest
import tiny
import torch
from scipy.spatial.transform import Rotation

import multiview.cli
import sdfrender.cli
from multiview.fit import fit
from multiview.results.live import Watched
from multiview.results.viewed import distances
from sdfrender import InputError, Lattice, extract_mesh, save_lattice, save_mesh
from sdfrender.meshes.colors import colored_glb
from sdfrender.viewer.exhibit import VIEWS, Errors, Exhibit, Views, load_exhibit, save_views

pytest.importorskip("viser", reason="needs the package viser")

from sdfrender.viewer.live import Live, Moment, curve, scales_of
from sdfrender.viewer.server import COLORS, ERRORS, HOST, LATTICE, MESH, Viewer, colors_of

PATIENCE = 150.0  # seconds, for a busy machine

FromExhibit = Callable[[Exhibit], Any]


@pytest.fixture
def shown() -> Iterator[FromExhibit]:
    """Opens viewers, and closes them."""
    opened: list[Viewer] = []

    def show(exhibit: Exhibit) -> Viewer:
        opened.append(Viewer(exhibit))
        return opened[-1]

    yield show
    for viewer in opened:
        viewer.close()


@pytest.fixture
def live() -> Iterator[Live]:
    following = Live(Exhibit("torus", tiny.true_lattice(12)))
    yield following
    following.close()


def until(true: Callable[[], object]) -> None:
    """Wait for what another thread does."""
    ends = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.01)


def exhibit(views: int = 3) -> Exhibit:
    lattice = tiny.true_lattice(16)
    mesh = extract_mesh(lattice)
    rng = np.random.default_rng(0)
    mesh.visual.vertex_colors = rng.integers(0, 255, (len(mesh.vertices), 3), np.uint8)
    cameras = tiny.ring(views)
    pictures = torch.zeros(views, tiny.HEIGHT, tiny.WIDTH, 3, dtype=torch.uint8)
    names = tuple(f"view {k}" for k in range(views))
    fitted = (True,) * (views - 1) + (False,)
    errors = Errors(torch.linspace(0, 1, len(mesh.vertices)), "distance")
    return Exhibit("torus", lattice, mesh, Views(names, fitted, cameras, pictures), errors)


def props(viewer: Viewer, name: str) -> Any:
    """What the server tells a browser of a surface."""
    return viewer._surfaces[name]


# ---------------------------------------------------------------------- what is shown


def test_the_surface_lies_at_the_level(shown: FromExhibit) -> None:
    lattice = tiny.true_lattice(24)
    viewer = shown(Exhibit("torus", lattice))
    cell = float(lattice.spacing.max())
    for level in (0.0, 0.3, -0.3):
        viewer._level.value = level
        until(lambda level=level: viewer._drawn is not None and viewer._drawn[1] == level)
        with viewer._drawing:  # it has been sent
            points = torch.from_numpy(props(viewer, LATTICE).vertices)
        inner = points[((points - lattice.bounds[0]).abs() > 0.1 * cell).all(1)]
        values = lattice.sample(inner)
        middle = values[(inner[:, 1] - tiny.CENTER[1]).abs() < 0.3]
        assert float((middle - level).abs().mean()) < 0.1 * cell
        assert props(viewer, LATTICE).visible


def test_a_level_without_a_surface(shown: FromExhibit) -> None:
    viewer = shown(Exhibit("torus", tiny.true_lattice(12)))
    viewer._level.value = viewer._level.min
    flat = Lattice(torch.full((4, 5, 6), 0.1), tiny.BOX)
    viewer.show_lattice(flat)
    assert not props(viewer, LATTICE).visible
    assert "no surface" in viewer._notice.content
    viewer.show_lattice(Lattice(-flat.values * 30, tiny.BOX))
    assert props(viewer, LATTICE).visible
    assert viewer._notice.content == ""


def test_the_menu_chooses_the_surface(shown: FromExhibit) -> None:
    viewer = shown(exhibit())
    assert list(viewer._menu.options) == [LATTICE, MESH, COLORS, ERRORS]
    assert list(viewer._surfaces) == [LATTICE]  # a page opens sooner
    for name in (MESH, COLORS, ERRORS, LATTICE):
        viewer._menu.value = name

        def alone(name: str = name) -> bool:
            return [k for k, x in list(viewer._surfaces.items()) if x.visible] == [name]

        until(alone)
        until(lambda name=name: viewer._level.visible == (name == LATTICE))
        until(lambda name=name: viewer._scale[0].visible == (name == ERRORS))
    assert viewer._scale[1].content.startswith("distance: from 0 to 0.98")
    bare = shown(Exhibit("torus", mesh=extract_mesh(tiny.true_lattice(12))))
    assert list(bare._menu.options) == [MESH]
    assert props(bare, MESH).visible


def test_errors_have_colours_from_dark_to_light() -> None:
    colors = colors_of(Errors(torch.tensor([0.0, 1.0, 2.0, 50.0]), "distance")).sum(1)
    assert float(colors[0]) < float(colors[1]) < float(colors[2]) <= float(colors[3])
    assert bool(colors_of(Errors(torch.zeros(3), "distance")).isfinite().all())


def test_errors_are_lit_and_photographs_are_not() -> None:
    mesh = extract_mesh(tiny.true_lattice(8))
    colors = torch.rand(len(mesh.vertices), 3)
    lit, photographed = (colored_glb(mesh, colors, lit=x) for x in (True, False))
    assert b"KHR_materials_unlit" not in lit
    assert b"KHR_materials_unlit" in photographed
    assert b"COLOR_0" in lit


def test_cameras_stand_where_they_stood(shown: FromExhibit) -> None:
    show = exhibit()
    assert show.views is not None
    viewer = shown(show)
    frustums = {
        name: handle
        for name, handle in viewer.server.scene._handle_from_node_name.items()
        if name.startswith("/cameras/")
    }
    assert len(frustums) == 3
    cameras = show.views.cameras
    for k in range(3):
        handle = frustums[f"/cameras/{k}"]
        w, x, y, z = handle.wxyz
        rotation = Rotation.from_quat([x, y, z, w]).as_matrix()
        np.testing.assert_allclose(rotation, cameras.c2w[k, :3, :3], atol=1e-6)
        np.testing.assert_allclose(handle.position, cameras.centers[k], rtol=1e-6)
        assert handle.fov == pytest.approx(math.radians(42), rel=1e-5)
        assert handle.aspect == pytest.approx(tiny.WIDTH / tiny.HEIGHT)
    colors = [tuple(frustums[f"/cameras/{k}"].color) for k in range(3)]
    assert colors[0] == colors[1] != colors[2]  # the last is held out


# ---------------------------------------------------------------------- what is read


@pytest.mark.parametrize("preset", ["fast"], indirect=True)
def test_a_run_is_shown_with_all_it_has(torus_run: Path, shown: FromExhibit) -> None:
    run = load_exhibit(torus_run)
    assert run.lattice is not None
    assert run.mesh is not None
    assert run.views is not None
    assert run.errors is not None
    assert run.views.fitted == (True,) * 6 + (False,) * 2
    assert run.views.pictures.shape == (8, tiny.HEIGHT, tiny.WIDTH, 3)
    assert int(run.views.pictures.max()) > 100
    assert "reference" in run.errors.title
    # The fit is good to a small part of the torus's size.
    assert 0 < float(run.errors.values.mean()) < 0.02
    assert list(shown(run)._menu.options) == [LATTICE, MESH, COLORS, ERRORS]


@pytest.mark.parametrize("preset", ["fast"], indirect=True)
def test_a_run_without_a_reference_shows_residuals(torus_run: Path, tmp_path: Path) -> None:
    from multiview.photo.appearance import Appearance
    from multiview.photo.targets import Targets
    from multiview.results.viewed import residuals
    from multiview.run_folder import read_config
    from multiview.scenes.run_scene import scene_of

    scene = scene_of(read_config(torus_run))
    appearance = Appearance(1, scene.lighting)
    targets = Targets.of(scene, scene.train)
    lattice = tiny.true_lattice()
    mesh = extract_mesh(lattice)
    right = residuals(targets, lattice, appearance, mesh)
    assert float(right.values.median()) < 2e-3  # the pictures are of this very lattice
    targets.images.mul_(0.5)
    wrong = residuals(targets, lattice, appearance, mesh)
    assert float(wrong.values.median()) > 0.05
    assert "photographs" in wrong.title


def test_distances_to_a_larger_ball() -> None:
    small, large = (extract_mesh(Lattice.sphere(r, resolution=48)) for r in (0.4, 0.5))
    found = distances(small, large)
    assert found.values.numpy() == pytest.approx(0.1, abs=2e-3)  # of a side of 1


def test_files_and_folders(tmp_path: Path) -> None:
    lattice = tiny.true_lattice(12)
    save_lattice(tmp_path / "shape.npz", lattice)
    save_mesh(tmp_path / "shape.stl", extract_mesh(lattice))
    assert load_exhibit(tmp_path / "shape.npz").mesh is None
    assert load_exhibit(tmp_path / "shape.stl").lattice is None
    with pytest.raises(InputError, match=r"need mesh.ply or lattice.safetensors"):
        load_exhibit(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        load_exhibit(tmp_path / "other")
    with pytest.raises(InputError, match="unknown extension"):
        load_exhibit(Path(__file__))
    save_lattice(tmp_path / "lattice.safetensors", lattice)
    assert load_exhibit(tmp_path).views is None
    (tmp_path / VIEWS).write_bytes(b"no views")
    with pytest.raises(InputError, match=r"views.safetensors: need the views of a run"):
        load_exhibit(tmp_path)
    batch = Lattice(lattice.values.expand(2, -1, -1, -1).clone(), lattice.bounds)
    save_lattice(tmp_path / "two.safetensors", batch)
    with pytest.raises(InputError, match="a single lattice"):
        load_exhibit(tmp_path / "two.safetensors")


def test_views_are_read_as_they_were_written(tmp_path: Path) -> None:
    show = exhibit()
    assert show.views is not None
    assert show.mesh is not None
    save_mesh(tmp_path / "mesh.ply", show.mesh)
    for errors in (None, show.errors):
        save_views(tmp_path / VIEWS, show.views, errors)
        found = load_exhibit(tmp_path)
        assert found.views is not None
        assert found.views.names == show.views.names
        assert found.views.fitted == show.views.fitted
        assert torch.equal(found.views.pictures, show.views.pictures)
        assert torch.equal(found.views.cameras.c2w, show.views.cameras.c2w)
        assert (found.errors is None) == (errors is None)
    save_views(tmp_path / VIEWS, show.views, Errors(torch.zeros(3), "of another mesh"))
    assert load_exhibit(tmp_path).errors is None


# ---------------------------------------------------------------------- the server


def test_it_listens_here_alone_and_finds_a_port(shown: FromExhibit) -> None:
    first, second = (shown(Exhibit("torus", tiny.true_lattice(8))) for _ in range(2))
    assert first.port != second.port
    for viewer in (first, second):
        assert f"http://{HOST}:{viewer.port}" in viewer.directions
        assert f"ssh -L {viewer.port}:{HOST}:{viewer.port} " in viewer.directions
        with urllib.request.urlopen(viewer.url, timeout=PATIENCE) as answer:
            page = answer.read().decode()
        assert "<html" in page
        up = viewer.url.replace("/?", "/%2e%2e/%2e%2e/__init__.py?")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(up, timeout=PATIENCE)
    listening = first.server._websock_server
    assert listening._host == HOST


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    Viewer(Exhibit("torus", tiny.true_lattice(8))).close()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("found", [None, "0.2.23"])
@pytest.mark.parametrize("command", ["view", "fit"])
def test_without_viser(
    command: str,
    found: str | None,
    torus_scene: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "run"
    arguments = {
        "view": ["sdfrender", "view", str(torus_scene / "mesh.ply")],
        "fit": ["multiview", "fit", str(torus_scene), "--out", str(out), "--live"],
    }[command]
    main = {"view": sdfrender.cli.main, "fit": multiview.cli.main}[command]
    monkeypatch.setattr("sys.argv", arguments)
    with (
        patch("sdfrender.viewer.find_spec", lambda name: found),
        patch("sdfrender.viewer.version", lambda name: found),
    ):
        assert main() == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f'got {found or "none"}: pip install "sdfrender[viewer]"' in said
    assert not out.exists()


def test_a_port_that_is_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["sdfrender", "view", "x.ply", "--port", "70000"])
    assert sdfrender.cli.main() == 2
    assert "--port: need 1 to 65535, got 70000" in capsys.readouterr().err


# ---------------------------------------------------------------------- a fit that runs


class Fitting(threading.Thread):
    """Stands in for a fit: updates its one lattice in place until it is stopped."""

    def __init__(self, live: Live, updates: int = 10**6) -> None:
        super().__init__(daemon=True)
        self.live, self.updates = live, updates
        self.done = 0
        self.waited = 0.0
        self.interrupted = False
        self.lattice = Lattice(tiny.true_lattice(12).values.clone(), tiny.BOX)

    def run(self) -> None:
        try:
            while self.done < self.updates:
                self.lattice.values.add_(2**-16)
                self.done += 1
                moment = Moment(self.done, 1 / self.done, self.lattice)
                self.waited += self.live.after_update(moment)
                time.sleep(1e-4)
        except KeyboardInterrupt:
            self.interrupted = True


def test_pause_step_and_stop(live: Live) -> None:
    fitting = Fitting(live)
    live.pause(True)
    fitting.start()
    until(lambda: live._offered == 1)
    assert fitting.done == 1
    until(lambda: "Update 1," in live._status.content)  # shown while it is held
    for k in (2, 3):
        live.step()
        until(lambda k=k: f"Update {k}," in live._status.content)
        assert fitting.done == k
    live.pause(False)
    until(lambda: fitting.done > 10)
    assert fitting.waited > 0
    live.pause(True)
    live.stop()  # a fit that is held can be stopped
    fitting.join(PATIENCE)
    assert fitting.interrupted
    assert live._status.content.startswith("Stopping")
    assert live._stop.disabled


def test_the_buttons_do_it(live: Live) -> None:
    fitting = Fitting(live)
    fitting.start()
    press(live._pause)
    until(lambda: live.paused)
    assert live._pause.label == "Continue"
    assert not live._step.disabled
    press(live._step)
    press(live._pause)
    until(lambda: not live.paused)
    press(live._stop)
    fitting.join(PATIENCE)
    assert fitting.interrupted


def press(button: Any) -> None:
    """As a click in the page does."""
    for callback in button._impl.update_cb:
        callback(None)


def test_a_fit_that_draws_slowly_is_not_held_up(live: Live) -> None:
    drawing, drawn = threading.Event(), []

    def draw_slowly(moment: Moment) -> None:
        drawn.append((moment.update, float(moment.lattice.values[0, 0, 0])))
        drawing.wait(PATIENCE)

    with patch.object(live, "_draw", draw_slowly):
        fitting = Fitting(live, updates=50)
        first = float(fitting.lattice.values[0, 0, 0])
        fitting.start()
        fitting.join(PATIENCE)  # though nothing has been drawn to its end
        assert fitting.done == 50
        assert fitting.waited < PATIENCE
        drawing.set()
    assert drawn[0][0] == 1
    assert len(drawn) == 1
    # The lattice as it was, though the fit went on in the same memory.
    assert drawn[0][1] == pytest.approx(first + 2**-16, abs=1e-6)


def test_the_curve_is_short_and_has_logarithms() -> None:
    losses = [(k, 0.0 if k == 3 else 1 / (k + 1)) for k in range(2000)]
    updates, values = curve(losses)
    assert len(updates) == len(values) == 500
    assert updates[0] == 0
    assert updates[-1] == 1999
    assert 3 not in updates
    assert all(len(x) == 0 for x in curve([]))
    scales = scales_of(losses)
    assert scales["x"]["range"] == (0, 1999)
    low, high = scales["y"]["range"]
    assert 0 < low < min(values)
    assert max(values) < high


@pytest.mark.slow
def test_a_fit_that_is_watched_ends_as_any_other(torus_scene: Path, tmp_path: Path) -> None:
    tiny.fit_tiny(torus_scene, tmp_path / "alone", tiny.SHORT["fast"])
    seen: list[tuple[int, Path]] = []
    plain = Watched.after_update

    def look_on(self: Watched, state: Any, loss: float) -> float:
        with urllib.request.urlopen(self.live.viewer.url, timeout=PATIENCE) as answer:
            seen.append((state.updates, answer.status))
        return plain(self, state, loss)

    with (
        patch.object(Watched, "after_update", look_on),
        patch("tiny.fit", lambda config, quiet: fit(config, quiet, live=True)),
    ):
        tiny.fit_tiny(torus_scene, tmp_path / "watched", tiny.SHORT["fast"])
    assert tiny.read_losses(tmp_path / "alone") == tiny.read_losses(tmp_path / "watched")
    assert seen == [(k, 200) for k in range(1, len(seen) + 1)]
    assert len(seen) == 4


def test_a_fit_that_is_stopped_saves_what_there_is(
    torus_scene: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="multiview")
    plain = Watched.after_update

    def stop_at_once(self: Watched, state: Any, loss: float) -> float:
        self.live.stop()
        return plain(self, state, loss)

    with (
        patch.object(Watched, "after_update", stop_at_once),
        patch("tiny.fit", lambda config, quiet: fit(config, quiet, live=True)),
    ):
        metrics = tiny.fit_tiny(torus_scene, tmp_path / "run", tiny.SHORT["fast"])
    assert metrics["interrupted"]
    assert (tmp_path / "run" / "mesh.ply").exists()
    assert "ssh -L" in caplog.text
    assert "saving what there is" in caplog.text


# ---------------------------------------------------------------------- in a browser


def picture(page: Any) -> np.ndarray:
    """The middle of the page, where the surface is."""
    clip = {"x": 340, "y": 150, "width": 600, "height": 500}
    image: np.ndarray = iio.imread(io.BytesIO(page.screenshot(clip=clip)), extension=".png")
    return image[..., :3].astype(int)


def covered(page: Any) -> float:
    """The share of the picture that is not background."""
    pixels = picture(page)
    return float((np.abs(pixels - pixels[0, 0]).max(-1) > 30).mean())


@pytest.mark.slow
def test_a_browser_shows_the_surface_as_it_changes(browser: Any, live: Live) -> None:
    complaints: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(PATIENCE * 1000)
    page.on("pageerror", lambda error: complaints.append(str(error)))

    def note(request: Any) -> None:
        if HOST not in request.url and not request.url.startswith(("data:", "blob:")):
            complaints.append(request.url)

    page.on("request", note)
    page.goto(live.viewer.url)
    until(lambda: covered(page) > 0.02)
    page.get_by_text("Stop and save").wait_for()

    fitting = Fitting(live)
    fitting.lattice = Lattice(tiny.true_lattice(12).values - 0.3, tiny.BOX)  # fatter
    before = covered(page)
    live.pause(True)
    fitting.start()
    until(lambda: covered(page) > 1.15 * before)
    page.get_by_text("Update 1,").wait_for()
    page.get_by_role("button", name="Step").click()
    page.get_by_text("Update 2,").wait_for()
    assert fitting.done == 2
    page.get_by_role("button", name="Continue").click()
    until(lambda: fitting.done > 5)
    context.close()
    reached = fitting.done
    until(lambda: fitting.done > reached + 20)  # whoever looked on has gone
    live.stop()
    fitting.join(PATIENCE)
    assert fitting.interrupted
    assert complaints == []
