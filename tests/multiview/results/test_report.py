"""The report: one page that needs nothing but itself, whatever the scene's name is."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import shlex
import shutil
import sys
import zlib
from html.parser import HTMLParser
from pathlib import Path
from unittest.mock import patch

import imageio.v3 as iio
import numpy as np
import pytest
import tiny
import torch

from multiview import cli
from multiview.photo.targets import Targets
from multiview.recipes import RECIPES
from multiview.results.evaluate import ViewScore
from multiview.results.report import views
from multiview.results.report.pictures import BRIGHTER, DARKER, EQUAL, EXTRA, MISSING, difference
from multiview.results.report.views import explain
from sdfrender import Cameras
from sdfrender.report import model
from sdfrender.report.page import sortable
from sdfrender.report.turntable import display_frame

VOID = {"meta", "img", "br", "input"}  # elements without an end tag, as far as the report has them
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
    assert kind == "data:image/webp;base64"
    pixels: np.ndarray = iio.imread(base64.b64decode(data, validate=True), extension=".webp")
    assert pixels.shape[:2] == (int(attributes["height"]), int(attributes["width"]))
    return pixels


@pytest.fixture(scope="module")
def page(torus_run: Path) -> Page:
    return Page(torus_run / "report.html")


def over(pixels: np.ndarray, paper: float = 40.0) -> np.ndarray:
    """A picture with alpha, over a colour."""
    alpha = pixels[..., 3:] / 255 if pixels.shape[-1] == 4 else 1.0
    return pixels[..., :3] * alpha + paper * (1 - alpha)


def test_the_page_needs_nothing_else(page: Page) -> None:
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"link", "iframe", "object", "embed", "base"}
    assert all(form == {"method": "dialog"} for form in page.all("form"))
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


def test_only_its_own_script_may_run(page: Page) -> None:
    (policy,) = (meta for meta in page.all("meta") if "http-equiv" in meta)
    assert policy["content"].startswith("default-src 'none';")
    kinds = [script.get("type") for script in page.all("script")]
    assert kinds == ["text/plain", "application/json", None]
    digest = base64.b64encode(hashlib.sha256(page.text["script"][2].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy["content"]


def test_every_picture_that_is_shown(page: Page) -> None:
    images = [image for image in page.all("img") if image["src"] != "data:,"]
    by_alt = {image["alt"]: picture(image) for image in images}
    expected = {f"the shape from {60 * k} degrees" for k in range(6)}
    expected |= {f"view_{k:03}, {kind}" for k in range(8) for kind in (*KINDS, "agreement")}
    expected |= {"photograph", "rendering at this stage", "difference at this stage"}
    large = {alt for alt in by_alt if alt.endswith(", large")}
    assert set(by_alt) - large == expected
    assert len(large) == 3
    for alt, pixels in by_alt.items():
        assert over(pixels).std() > 0, alt  # not of one colour
        if not alt.startswith("the shape"):
            assert pixels.shape[:2] == (tiny.HEIGHT, tiny.WIDTH)


def test_the_result_is_closer_to_the_photograph_than_the_start(page: Page) -> None:
    by_alt = {image["alt"]: picture(image) for image in page.all("img")[:-1]}
    for name in ("view_006", "view_007", "view_000"):
        photo, start, result, apart = (by_alt[f"{name}, {kind}"] for kind in KINDS)
        before, after = (np.abs(over(x) - over(photo)).mean() for x in (start, result))
        assert after < 0.7 * before
        solid = apart[apart[..., 3] > 250][:, :3]
        np.testing.assert_allclose(np.median(solid, 0), np.array(EQUAL) * 255, atol=12)


def test_the_worst_view_is_shown_first(page: Page, torus_run: Path) -> None:
    rows = [row for row in page.all("tr") if "data-psnr-full" in row]
    whole = [float(row["data-psnr-full"]) for row in rows]
    assert len(rows) == 8
    assert whole == sorted(whole)
    groups = {row["data-name"]: row["data-group"] for row in rows}
    assert {name for name, group in groups.items() if group == "held out"} == {
        "view_006", "view_007"
    }  # fmt: skip
    assert f"Worst view: {rows[0]['data-name']}" in page.text["h2"]
    for group, of in (("train", "fitted"), ("held_out", "held out")):
        mean = json.loads((torus_run / "metrics.json").read_text())[group]["silhouette_iou"]
        own = [float(r["data-silhouette-iou"]) for r in rows if r["data-group"] == of]
        assert np.mean(own) == pytest.approx(mean)


def test_the_slider_has_all_stages(page: Page, torus_run: Path) -> None:
    data = json.loads(page.text["script"][1])
    kept = sorted((torus_run / "checkpoints" / "progress").iterdir())
    assert data["stages"][0] == "start"
    assert data["stages"][-1] == "result"
    assert len(data["stages"]) == len(kept) + 2
    assert [view["name"] for view in data["views"]][-1] == "view_005"
    assert [x["max"] for x in page.all("input")] == [str(len(kept) + 1)]
    for view in data["views"]:
        assert len(view["renderings"]) == len(view["differences"]) == len(data["stages"])
        assert view["renderings"][0] != view["renderings"][-1]
    losses = tiny.read_losses(torus_run)
    updates = {int(file.stem) for file in kept}
    ends = {level: int(row["update"]) for row in losses for level in [row["level"]]}
    assert set(ends.values()) <= updates  # each level's end among them


def test_the_figures_and_settings_are_those_of_the_run(page: Page, torus_run: Path) -> None:
    metrics = json.loads((torus_run / "metrics.json").read_text())
    headings = [text for text in page.text["th"] if text.strip()]
    for group in ("train", "held_out", "reference"):
        for name, value in metrics[group].items():
            assert f"{value:.5g}" in page.text["td"]
            assert group != "reference" or f"reference {name}" in headings
    shown = "".join(page.text["pre"])
    config = json.loads((torus_run / "config.json").read_text())
    assert json.dumps(config, indent=2) in shown
    assert shlex.join(config["command"]) in shown
    for name, value in (*config["settings"].items(), *config["versions"].items()):
        assert name in headings
        assert value is None or str(value) in page.text["td"]
    sentence = next(text for text in page.text["p"] if "lattice" in text)
    for part in ("6 views", "16×10×16", "2 held out"):
        assert part in sentence
    assert f"{metrics['held_out']['psnr']:.1f} dB" in page.text["b"]


def test_the_loss_is_drawn(page: Page, torus_run: Path) -> None:
    assert len(page.all("svg")) == 1
    words = [text.strip() for text in page.text["text"]]
    for word in ("update", "energy per view (cells)", "total", "color", "silhouette", "eikonal"):
        assert word in words
    grids = {row["resolution"].replace("x", "×") for row in tiny.read_losses(torus_run)}
    assert grids <= set(words)  # the levels
    assert grids <= set(page.text["th"])  # and a row of each


def test_the_packed_mesh_is_the_mesh(torus_run: Path) -> None:
    mesh = model.load_colored(torus_run / "mesh.ply")
    turn = display_frame(tiny.ring())
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert float(torch.linalg.det(turn)) == pytest.approx(1)
    packed = model.pack_model(mesh, turn)
    data = zlib.decompress(base64.b64decode(packed.data))
    F, V = packed.faces, packed.verts
    assert (F, V, packed.colored) == (len(mesh.faces), len(mesh.vertices), True)  # few: all stay
    assert len(data) == 12 * F + 9 * V
    indices = np.frombuffer(data, "<u4", 3 * F).reshape(F, 3)
    steps = np.frombuffer(data, "<u2", 3 * V, 12 * F).reshape(V, 3)
    colors = np.frombuffer(data, np.uint8, 3 * V, 12 * F + 6 * V).reshape(V, 3)
    np.testing.assert_array_equal(indices, mesh.faces)
    np.testing.assert_array_equal(colors, mesh.visual.vertex_colors[:, :3])
    # The same up to where its middle is and its size, to a few steps.
    own = (mesh.vertices - mesh.vertices.mean(0)) @ turn.numpy().T
    found = 2.0 * steps / 65535 - 1
    found -= found.mean(0)
    scale = np.linalg.norm(own) / np.linalg.norm(found)
    assert np.abs(found * scale - own).max() < 1e-4 * np.abs(own).max()
    with patch.object(model, "MOST_FACES", 200):
        few = model.pack_model(mesh, turn)
    assert few.faces < 600


def test_up_is_up_in_the_photographs() -> None:
    cameras = tiny.ring()
    np.testing.assert_allclose(display_frame(cameras)[1], [0, 1, 0], atol=0.35)
    upside_down = type(cameras)(
        cameras.c2w * torch.tensor([-1.0, -1, 1, 1]), cameras.Ks, cameras.width, cameras.height
    )
    np.testing.assert_allclose(display_frame(upside_down)[1], -display_frame(cameras)[1], atol=1e-6)


# ---------------------------------------------------------------------- what is wrong, and where

H, W = 12, 15


def one_view(image: float = 0.5) -> Targets:
    """A grey block in the middle of a frame."""
    mask = torch.zeros(1, H, W)
    mask[:, 2:10, 3:12] = 1
    camera = Cameras.look_at([[0.0, 0.0, 3.0]], width=W, height=H)
    return Targets(
        camera, (image * mask)[..., None].repeat(1, 1, 1, 3), mask, torch.ones_like(mask),
        torch.ones_like(mask),
    )  # fmt: skip


def test_a_difference_tells_its_kinds_apart() -> None:
    targets = one_view()
    photo, mask = targets.images[0], targets.silhouettes[0]
    rendering, coverage = photo.clone(), mask.clone()
    rendering[4, 4] += 0.25  # four times that is full strength
    rendering[4, 6] -= 0.25
    rendering[5, 5] += 0.125
    rendering[2, 3], coverage[2, 3] = 0, 0
    rendering[0, 0], coverage[0, 0] = 0.5, 1
    rendering[11, 14], coverage[11, 14] = 0.5, 1
    known = torch.ones(H, W)
    known[11, 14] = 0
    shown = difference(rendering, coverage, photo, mask, known)
    for (row, column), color in (
        ((6, 6), EQUAL),
        ((4, 4), BRIGHTER),
        ((4, 6), DARKER),
        ((2, 3), MISSING),
        ((0, 0), EXTRA),
    ):
        np.testing.assert_allclose(shown[row, column], [*color, 1], atol=1e-6)
    halfway = (np.array(EQUAL) + BRIGHTER) / 2
    np.testing.assert_allclose(shown[5, 5, :3], halfway, atol=1e-6)
    assert float(shown[0, 5, 3]) == float(shown[11, 14, 3]) == 0  # empty, and unknown


def test_an_error_is_explained() -> None:
    targets = one_view()
    photo, mask = targets.images[0], targets.silhouettes[0]
    assert explain(photo, mask, targets) == "Nothing differs."

    text = explain(photo + 0.1 * mask[..., None], mask, targets)
    assert "whole view is too bright by 0.100" in text
    assert "100% of the squared error" in text
    assert "too dark" in explain(photo - 0.1 * mask[..., None], mask, targets)

    hole = mask.clone()
    hole[2:5, 3:6] = 0
    text = explain(photo * hole[..., None], hole, targets)
    assert "12.5% of the object is missing" in text  # 9 of 72 pixels
    assert "upper left" in text

    more = mask.clone()
    more[4:7, 12:14] = 1
    text = explain(0.5 * more[..., None].expand(-1, -1, 3), more, targets)
    assert "sticks out by 8.3%" in text  # 6 of 72 pixels

    noisy = photo.clone()
    noisy[8:10, 9:12] += torch.tensor([0.2, -0.2])[:, None, None]
    text = explain(noisy, mask, targets)
    assert "Colours inside" in text
    assert "lower right" in text


def test_views_without_a_figure_come_last() -> None:
    looks = views.ViewPictures(1, 1, "", "", "", "")
    cards = [
        views.ViewCard(k, "", "fitted", ViewScore(1.0, psnr, None, iou), "", looks)
        for k, (psnr, iou) in enumerate(
            [(30.0, 0.9), (math.nan, 0.1), (20.0, 0.9), (math.inf, 1.0), (20.0, 0.8)]
        )
    ]
    ordered = sorted(cards, key=lambda card: card.badness, reverse=True)
    assert [card.index for card in ordered][:3] == [4, 2, 0]
    assert {card.index for card in ordered[3:]} == {1, 3}
    assert [sortable(x) for x in (None, math.nan, math.inf, 2.5)] == [
        "", "", "Infinity", "2.5"
    ]  # fmt: skip


def test_the_views_spread_over_all() -> None:
    assert views.spread(range(10, 20), 3) == [10, 14, 19]
    assert views.spread([4, 5], 3) == [4, 5]


HOSTILE = '<u>&"BODY'


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
    assert page.all("u") == page.all("i") == []
    assert page.text["title"] == [HOSTILE]
    assert page.text["h1"] == [HOSTILE]
    assert f"{view}, photograph" in [image["alt"] for image in page.all("img")]
    assert view in page.text["th"]
    assert shlex.join(["multiview", *arguments]) in "".join(page.text["pre"])
    assert view in {one["name"] for one in json.loads(page.text["script"][1])["views"]}
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
