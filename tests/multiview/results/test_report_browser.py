"""The report in a browser without a network: its slider, its table, its mesh."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest

WAIT = 20_000  # milliseconds, for a busy machine
NO_WEBGL = "HTMLCanvasElement.prototype.getContext = () => null"

# The page does not depend on the method.
pytestmark = pytest.mark.parametrize("preset", ["fast"], indirect=True)

Opener = Callable[..., Any]


@pytest.fixture
def opened(browser: Any, torus_run: Path) -> Iterator[Opener]:
    """Opens the report; whatever the page complains of, or asks a network for, fails the test."""
    complaints: list[str] = []
    contexts = []

    def note(request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            complaints.append(request.url)

    def open_report(init: str = "", **settings: Any) -> Any:
        settings = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce",
                    **settings}  # fmt: skip
        context = browser.new_context(offline=True, **settings)
        contexts.append(context)
        if init:
            context.add_init_script(init)
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.on("request", note)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda message: message.type == "error" and complaints.append(message.text),
        )
        page.goto((torus_run / "report.html").as_uri())
        return page

    yield open_report
    for context in contexts:
        context.close()
    assert complaints == []


def pixels(canvas: Any) -> np.ndarray:
    image: np.ndarray = iio.imread(io.BytesIO(canvas.screenshot()), extension=".png")
    return image[..., :3].astype(int)


def model(page: Any) -> Any:
    """The canvas, once its mesh has been drawn."""
    page.wait_for_function(
        "() => { const c = document.getElementById('model');"
        " return !c.closest('.live').hidden && c.width === c.clientWidth; }"
    )
    return page.locator("#model")


@pytest.mark.slow
def test_the_mesh_is_drawn_and_turns(opened: Opener) -> None:
    page = opened()
    canvas = model(page)
    page.wait_for_timeout(200)  # a frame
    still = pixels(canvas)
    shown = np.abs(still - still[5, 5]).max(-1) > 30
    assert 0.02 < shown.mean() < 0.7
    # In the middle, and nothing at the sides.
    rows, columns = shown.nonzero()
    assert rows.mean() == pytest.approx(shown.shape[0] / 2, rel=0.1)
    assert columns.mean() == pytest.approx(shown.shape[1] / 2, rel=0.1)
    np.testing.assert_array_equal(pixels(canvas), still)  # it turns only when asked

    def changed_by(act: Callable[[], object]) -> bool:
        before = pixels(canvas)
        act()
        page.wait_for_timeout(200)
        return bool((np.abs(pixels(canvas) - before).max(-1) > 5).mean() > 0.005)

    def press(key: str) -> None:
        for _ in range(5):  # a torus hardly changes when it turns a little
            page.keyboard.press(key)

    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def drag() -> None:
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 60, y + 40, steps=3)
        page.mouse.up()

    assert changed_by(drag)
    assert not changed_by(lambda: page.mouse.move(x - 80, y))  # the button is up again
    canvas.focus()
    for key in ("ArrowLeft", "ArrowUp", "+"):
        assert changed_by(lambda key=key: press(key)), key
    page.keyboard.press("Home")
    page.mouse.move(0, 0)
    page.wait_for_timeout(200)
    inside = slice(8, -8)  # of the ring around what has the focus
    np.testing.assert_array_equal(pixels(canvas)[inside, inside], still[inside, inside])
    assert changed_by(page.locator("#clay").click)
    page.locator("#turn").click()
    assert changed_by(lambda: page.wait_for_timeout(300))


def test_a_finger_turns_the_mesh(opened: Opener) -> None:
    page = opened(viewport={"width": 390, "height": 844}, has_touch=True)
    canvas = model(page)
    page.wait_for_timeout(200)
    before = pixels(canvas)
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch = page.context.new_cdp_session(page)
    for kind, moved in (("Start", 0), ("Move", 30), ("Move", 90), ("End", None)):
        points = [] if moved is None else [{"x": x + moved, "y": y}]
        touch.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})
    page.wait_for_timeout(200)
    assert (np.abs(pixels(canvas) - before).max(-1) > 10).mean() > 0.005


def test_still_pictures_without_webgl(opened: Opener) -> None:
    page = opened(init=NO_WEBGL)
    page.wait_for_timeout(300)
    assert page.locator(".strip img").count() == 6
    assert page.locator(".strip").is_visible()
    assert not page.locator("#model").is_visible()


def test_the_slider_shows_the_stages(opened: Opener) -> None:
    page = opened()
    section, slider = page.locator("#forming"), page.locator("#stage")
    photograph, rendering, difference = section.locator(".pictures img").all()
    last = rendering.get_attribute("src"), difference.get_attribute("src")
    fixed = photograph.get_attribute("src")
    assert "result" in section.locator("output").inner_text()
    slider.focus()
    page.keyboard.press("Home")
    assert section.locator("output").inner_text().endswith("start")
    first = rendering.get_attribute("src"), difference.get_attribute("src")
    assert first[0] != last[0]
    assert first[1] != last[1]
    page.keyboard.press("ArrowRight")
    assert "update 1, level" in section.locator("output").inner_text()
    assert rendering.get_attribute("src") != first[0]
    assert photograph.get_attribute("src") == fixed
    section.locator("button[data-view]").nth(1).click()
    assert photograph.get_attribute("src") != fixed
    page.keyboard.press("Tab")
    slider.fill("0")
    assert section.locator("output").inner_text().endswith("start")
    assert rendering.evaluate("image => image.complete && image.naturalWidth > 0")


def test_headings_sort_the_views(opened: Opener) -> None:
    page = opened()
    rows = page.locator("table.views tbody tr")

    def column(key: str) -> list[str]:
        found: list[str] = rows.evaluate_all(f"rows => rows.map(row => row.dataset.{key})")
        return found

    whole = [float(x) for x in column("psnrFull")]
    assert whole == sorted(whole)  # the worst first
    assert page.locator("#worst h2").inner_text().endswith(column("name")[0])
    for key, attribute in (("silhouette_iou", "silhouetteIou"), ("name", "name")):
        heading = page.locator(f"table.views thead button[data-key={key}]")
        heading.click()
        rising = column(attribute)
        heading.click()
        values = rising if key == "name" else [float(x) for x in rising]
        assert values == sorted(values)
        assert len(set(values)) > 1
        assert column(attribute) == sorted(
            rising, key=lambda x: x if key == "name" else float(x), reverse=True
        )
        state = page.locator(f"th:has(button[data-key={key}])").get_attribute("aria-sort")
        assert state == "descending"


def test_a_picture_grows(opened: Opener) -> None:
    page = opened()
    small = page.locator("table.views .grow").nth(3)
    small.click()
    grown = page.locator("dialog[open] img")
    assert grown.get_attribute("src") == small.locator("img").get_attribute("src")
    assert "difference" in page.locator("dialog p").inner_text()
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0


@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_the_screen(opened: Opener, width: int) -> None:
    page = opened(viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_light_dark_and_paper(opened: Opener) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    page = opened(color_scheme="light")
    assert page.evaluate(background) == "rgb(255, 255, 255)"
    page.emulate_media(color_scheme="dark")
    red, green, blue = map(int, page.evaluate(background)[4:-1].split(","))
    assert max(red, green, blue) < 60
    model(page)
    page.emulate_media(media="print")
    assert page.evaluate(background) == "rgb(255, 255, 255)"
    assert page.locator(".strip").is_visible()  # in place of the canvas
    assert not page.locator("#model").is_visible()
