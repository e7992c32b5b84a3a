"""`cameras.html` in a browser without a network."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import imageio.v3 as iio
import numpy as np
import photographed
import pytest

from multiview.photographs.page import Thumbnails, write_page

pycolmap = pytest.importorskip("pycolmap", reason="needs the extra photos")

COUNT = 3
WAIT = 20_000  # milliseconds, for a busy machine


def made_up_model() -> Any:
    """The true cameras of photographs, and points on a ball."""
    model = photographed.placed_model(photographed.cameras(COUNT).c2w.double().numpy())
    random = np.random.default_rng(0)
    for direction in random.normal(size=(500, 3)):
        place = 0.5 * direction / np.linalg.norm(direction)
        model.add_point3D(place, pycolmap.Track(), np.array((240, 80, 40), np.uint8))
    return model


@pytest.fixture(scope="module")
def page(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The page; whatever it complains of, or asks a network for, fails the test."""
    folder = tmp_path_factory.mktemp("page")
    photographed.write_photographs(folder, COUNT + 1)
    names = [photographed.NAMES.format(n) for n in range(COUNT + 1)]
    told = {
        "pictures": COUNT + 1, "placed": names[:-1], "unplaced": names[-1:], "points": 500,
        "reprojection_px": 0.4, "unit": {"kind": "arbitrary"}, "refused": None,
        "warnings": ["one <b>picture</b> was not placed"],
        "cameras": [{"pictures": 3, "size": [360, 270], "focal": 400.0, "k": 0.01}],
    }  # fmt: skip
    file = folder / "cameras.html"
    write_page(file, made_up_model(), told, Thumbnails(folder / "images", names))
    complaints: list[str] = []
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(WAIT)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on(
        "console", lambda message: message.type == "error" and complaints.append(message.text)
    )
    opened.on(
        "request",
        lambda request: (
            None if request.url.startswith(("file:", "data:")) else complaints.append(request.url)
        ),
    )
    opened.goto(file.as_uri())
    opened.wait_for_function("() => document.getElementById('cameras').width > 400")
    yield opened
    context.close()
    assert complaints == []


def drawn(page: Any) -> np.ndarray:
    page.wait_for_timeout(100)
    shot: np.ndarray = iio.imread(
        io.BytesIO(page.locator("#cameras").screenshot()), extension=".png"
    )
    return shot[..., :3].astype(int)


def reddish(pixels: np.ndarray) -> np.ndarray:
    """Where the points are, whose colour is `(240, 80, 40)`."""
    return (pixels[..., 0] > 180) & (pixels[..., 1] < 110)


def test_what_it_tells(page: Any) -> None:
    assert "3 of 4" in page.inner_text(".tiles")
    assert "one <b>picture</b> was not placed" in page.inner_text(".warning")
    assert page.locator(".photographs li").count() == COUNT + 1
    assert "not placed" in page.inner_text(".photographs .unplaced")
    assert page.evaluate("[...document.images].every((i) => i.complete && i.naturalWidth > 0)")


def test_points_and_cameras_are_drawn_and_turn(page: Any) -> None:
    page.focus("#cameras")
    before = drawn(page)
    assert reddish(before).sum() > 500
    orange = np.abs(before - (230, 159, 0)).sum(-1) < 60
    assert orange.sum() > 100
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    assert np.abs(drawn(page) - before).sum(-1).max() > 100
    page.keyboard.press("Home")
    assert np.abs(drawn(page) - before).mean() < 0.05  # how lines are smoothed differs


def test_a_click_tells_the_number_of_a_point(page: Any) -> None:
    rows, columns = np.nonzero(reddish(drawn(page)))
    middle = len(rows) // 2
    page.locator("#cameras").click(position={"x": int(columns[middle]), "y": int(rows[middle])})
    assert page.inner_text("#picked").startswith("Point ")
    page.keyboard.press("Home")
