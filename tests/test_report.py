"""The report: one page that needs nothing but itself, whatever the scene's name is."""

from __future__ import annotations

import base64
import html
import json
import shlex
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from unittest.mock import patch

import imageio.v3 as iio
import numpy as np
import pytest
import tiny

from multiview import cli
from multiview.recipes import RECIPES
from multiview.report import VIEWS_SHOWN

VOID = {"meta", "img", "br"}  # elements without an end tag, as far as the report has them
KINDS = ("photograph", "start", "result", "difference")


class Page(HTMLParser):
    """Elements with their attributes, and the text directly inside of each kind."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(file.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.text.setdefault(self.open[-1], []).append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def picture(attributes: dict[str, str]) -> np.ndarray:
    """The pixels of an `<img>`."""
    kind, data = attributes["src"].split(",", 1)
    assert kind == "data:image/png;base64"
    pixels: np.ndarray = iio.imread(base64.b64decode(data, validate=True), extension=".png")
    assert pixels.shape[:2] == (int(attributes["height"]), int(attributes["width"]))
    return pixels


@pytest.fixture(scope="module")
def page(torus_run: Path) -> Page:
    return Page(torus_run / "report.html")


def test_the_page_needs_nothing_else(page: Page) -> None:
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for tag, attributes in page.elements:
        for key, value in attributes.items():
            if key == "xmlns" or key.startswith("xmlns:"):
                continue  # names, not addresses
            assert "//" not in value or value.startswith("data:"), (tag, key, value[:80])
            assert not key.startswith("on"), (tag, key)
            if key in ("src", "href", "xlink:href", "srcset", "data"):
                assert value.startswith(("data:", "#")), (tag, key, value[:80])
    styles = [value for _, attributes in page.elements for value in [attributes.get("style", "")]]
    for style in [*page.text["style"], *styles]:
        assert "@import" not in style
        assert "url(" not in style.replace("url(#", "")


def test_every_picture_that_is_shown(page: Page) -> None:
    images = page.all("img")
    alts = [image["alt"] for image in images]
    turntable = [f"the shape from {60 * k} degrees" for k in range(6)]
    held_out, train = ["view_006", "view_007"], ["view_000", "view_002", "view_005"]
    assert len(train) == VIEWS_SHOWN // 2
    views = [f"{name}, {kind}" for name in held_out + train for kind in KINDS]
    assert alts == turntable + views
    for image in images:
        assert picture(image).std() > 0, image["alt"]  # not of one colour
    shapes = {picture(image).shape[:2] for image in images[6:]}
    assert shapes == {(tiny.HEIGHT, tiny.WIDTH)}


def test_the_result_is_closer_to_the_photograph_than_the_start(page: Page) -> None:
    by_alt = {image["alt"]: picture(image).astype(float) for image in page.all("img")}
    for name in ("view_006", "view_007", "view_000"):
        photo, start, result, difference = (by_alt[f"{name}, {kind}"] for kind in KINDS)
        assert np.abs(result - photo).mean() < 0.7 * np.abs(start - photo).mean()
        assert np.median(difference) in (127, 128)  # equal is grey


def test_the_figures_and_settings_are_those_of_the_run(page: Page, torus_run: Path) -> None:
    metrics = json.loads((torus_run / "metrics.json").read_text())
    headings = [text for text in page.text["th"] if text.strip()]
    for group in ("train", "held_out", "reference"):
        for name, value in metrics[group].items():
            assert f"{group} {name}" in headings
            assert f"{value:.5g}" in page.text["td"]
    shown = "".join(page.text["pre"])
    config = json.loads((torus_run / "config.json").read_text())
    assert json.dumps(config, indent=2) in shown
    assert " ".join(config["command"]) in shown
    sentence = next(text for text in page.text["p"] if "lattice" in text)
    for part in ("6 views", "16×10×16", "2 held-out", f"{metrics['held_out']['psnr']:.1f} dB"):
        assert part in sentence


def test_the_loss_is_drawn(page: Page) -> None:
    assert len(page.all("svg")) == 1
    words = [text.strip() for text in page.text["text"]]
    for word in ("update", "energy per view (cells)", "total", "color", "silhouette", "eikonal"):
        assert word in words


HOSTILE = '<b>&"BODY'


def test_names_are_only_names(
    torus_scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the scene, of a view and in the command: shown as they are, never as markup."""
    scene = tmp_path / HOSTILE
    shutil.copytree(torus_scene, scene)
    view = "<i>&amp; 'TITLE' x"
    for folder in ("images", "masks"):
        (scene / folder / "view_000.png").rename(scene / folder / f"{view}.png")
    text = (scene / "transforms.json").read_text()
    (scene / "transforms.json").write_text(text.replace("view_000", view))
    arguments = ["fit", str(scene), "--out", str(tmp_path / "run"), "--preset", "adam",
                 "--resolution", "12", "--train-views", "<i>*,view_00[1-4]"]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["multiview", *arguments])
    with patch.dict(RECIPES, {"adam": lambda resolution: tiny.QUICK["adam"]}):
        assert cli.main() == 0
    file = tmp_path / "run" / "report.html"
    page = Page(file)
    assert page.all("b") == page.all("i") == []
    assert page.text["title"] == [HOSTILE]
    assert page.text["h1"] == [HOSTILE]
    assert f"{view}, photograph" in [image["alt"] for image in page.all("img")]
    assert view in page.text["th"]
    command = html.unescape("".join(page.text["pre"]))
    assert " ".join(["multiview", *arguments]) in command
    assert file.read_text().count("<h1>") == 1
    # A name with spaces is still one of the views that an update saw.
    seen = [shlex.split(row["views"]) for row in tiny.read_losses(tmp_path / "run")]
    assert {len(names) for names in seen} == {2, 3}
    assert {name for names in seen for name in names} == {view, *(f"view_00{n}" for n in "1234")}


def test_the_report_can_be_built_again(torus_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(torus_run, run)
    with patch.object(sys, "argv", ["multiview", "report", str(run)]):
        assert cli.main() == 0
    assert (run / "report.html").read_bytes() == (torus_run / "report.html").read_bytes()
