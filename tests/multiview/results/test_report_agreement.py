"""In the report: how photographs agree, how the light was chosen, and what warns of a result."""

from __future__ import annotations

import base64
import json
import math
import re
import shutil
import sys
from html import unescape
from pathlib import Path
from unittest.mock import patch

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from multiview import cli
from multiview.photo.choose_appearance import Choice, Look
from multiview.photo.choose_view_dependence import Addition, ViewChoice
from multiview.results.report import page
from multiview.results.report.choice import beyond_rows, candidate_rows
from multiview.results.report.pictures import NOT_COMPARED, SCALE, agreement_picture, rgb
from multiview.stereo.agreement import Agreement, Map

NAN = math.nan
# Two rows of three: outside, best, half; worst, not compared, a sixth.
SCORES = np.array([[NAN, 1.0, 0.5], [0.0, 0.0, 1 / 6]], np.float32)
COMPARED = np.array([[False, True, True], [True, False, True]])


def agreed() -> Agreement:
    """Of the scene's views 4, 7 and 2; the second was not scored."""
    maps = np.stack((SCORES, np.full_like(SCORES, NAN), np.full_like(SCORES, 0.5)))
    compared = np.stack((COMPARED, np.zeros_like(COMPARED), np.ones_like(COMPARED)))
    return Agreement(maps, compared, torch.tensor([4, 7, 2]))


def test_a_map_tells_unlike_from_not_compared() -> None:
    found = agreed().map_of(4)
    assert found is not None
    np.testing.assert_array_equal(
        found.scores, np.array([[NAN, 1, 0.5], [0, NAN, 1 / 6]], np.float32)
    )
    np.testing.assert_array_equal(found.inside, [[False, True, True], [True, True, True]])
    assert agreed().map_of(7) is None  # not scored
    assert agreed().map_of(3) is None  # not known
    assert agreed().share([4]) == pytest.approx(4 / 5)
    assert agreed().share([4, 2]) == pytest.approx(10 / 11)
    assert agreed().share([7]) is None
    assert agreed().mean([4]) == pytest.approx((1 + 0.5 + 1 / 6) / 5)


def test_the_picture_of_a_map() -> None:
    found = agreed().map_of(4)
    assert found is not None
    shown = agreement_picture(found, 7, 5)  # not a multiple of the map
    assert shown.shape == (5, 7, 4)
    colors = {tuple(np.round(pixel, 5)) for pixel in shown.reshape(-1, 4).numpy() if pixel[3]}
    wanted = [rgb(name) for name in (SCALE[6], SCALE[3], SCALE[0], NOT_COMPARED, SCALE[1])]
    assert colors == {tuple(np.round(np.float32([*c, 1]), 5)) for c in wanted}  # none between
    corners = [(0, 0), (0, 3), (0, 6), (4, 0), (4, 3), (4, 6)]
    alphas = [float(shown[row, column, 3]) for row, column in corners]
    assert alphas == [0, 1, 1, 1, 1, 1]
    np.testing.assert_allclose(shown[4, 3, :3], rgb(NOT_COMPARED), atol=1e-6)
    between = agreement_picture(Map(np.float32([[0.25]]), np.array([[True]])), 1, 1)
    middle = (np.array(rgb(SCALE[1])) + rgb(SCALE[2])) / 2
    np.testing.assert_allclose(between[0, 0, :3], middle, atol=1e-6)


def test_the_scale_gets_lighter_and_is_never_grey() -> None:
    """What people with any colour vision, and a printer without colours, need."""
    stops = np.array([rgb(name) for name in SCALE])
    light = stops @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(light) > 0.04).all()
    grey = np.array(rgb(NOT_COMPARED))
    assert np.ptp(grey) == 0
    fine = np.stack(
        [np.interp(np.linspace(0, 6, 61), np.arange(7), stops[:, c]) for c in range(3)], 1
    )
    alike = np.abs(fine @ [0.2126, 0.7152, 0.0722] - grey[0]) < 0.15
    assert (np.ptp(fine[alike], axis=1) > 0.4).all()  # as light as the grey, but of a colour


FIRST = Look("constant", "scene")
OTHER = Look("albedo", "view")
PLAIN = Look("radiance", "scene", own_exposures=True)


def told() -> dict[str, object]:
    """As `appearance.json` has it: chosen twice, one candidate left out the second time."""
    hull = Choice(FIRST, {FIRST: 0.1, OTHER: 0.2, PLAIN: math.inf})
    last = Choice(OTHER, {FIRST: 0.1, OTHER: 0.01})
    text = json.dumps(
        {"candidates": last.description(), "candidates_on_hull": hull.description()}
    ).replace("Infinity", "null")
    loaded: dict[str, object] = json.loads(text)
    return loaded


def test_candidates_in_words() -> None:
    best, next_best, left_out = candidate_rows(told())
    assert (best.colors, best.light, best.exposure) == (
        "many colours", "one per photograph", "one for all"
    )  # fmt: skip
    assert best.psnr == pytest.approx(40)
    assert best.psnr_on_hull == pytest.approx(-20 * math.log10(0.2))
    assert best.chosen
    assert not next_best.chosen  # it was at first
    assert next_best.psnr == next_best.psnr_on_hull == pytest.approx(20)
    assert (left_out.light, left_out.exposure) == (None, "one per photograph")
    assert left_out.psnr is None
    assert left_out.psnr_on_hull is None
    assert candidate_rows({"model": "albedo"}) == []


def test_every_model_of_colour_and_light_has_words() -> None:
    looks = [
        Look(model, light, own)
        for model in ("constant", "albedo", "radiance")
        for light in ("scene", "camera", "view")
        for own in (False, True)
    ]
    choice = Choice(looks[0], dict.fromkeys(looks, 0.1))
    assert candidate_rows({"candidates": choice.description()})


def test_what_was_added_beyond_in_words() -> None:
    best = Addition(2, 8.0)
    choice = ViewChoice(best, {Addition(): 0.1, Addition(0): 0.05, best: 0.01})
    rows = beyond_rows(json.loads(json.dumps({"beyond": choice.description()})))
    assert [(round(psnr), chosen) for _, psnr, chosen in rows] == [
        (40, True), (26, False), (20, False)
    ]  # fmt: skip
    assert "depend on the view" in rows[0][0]
    assert beyond_rows({"model": "albedo"}) == []


def test_a_warning_is_a_sentence() -> None:
    told = page._sentence_of('masks of "a--b" & <i> differ: try --stereo on, --light per-view')
    assert told == (
        "Masks of &#34;a--b&#34; &amp; &lt;i&gt; differ: try <code>--stereo</code> on, "
        "<code>--light</code> per-view."
    )
    assert page._sentence_of("so it is.") == "So it is."


# The page does not depend on the method.
@pytest.mark.parametrize("preset", ["fast"], indirect=True)
class TestPage:
    def test_numbers_and_maps(self, torus_run: Path, tmp_path: Path) -> None:
        """View 3 was not scored, half of view 7 could not be compared."""
        rng = np.random.default_rng(0)
        maps = rng.uniform(0.4, 0.9, (8, 9, 11)).astype(np.float32)
        compared = np.ones_like(maps, bool)
        maps[:, :2], maps[3] = NAN, NAN
        compared[7, :, :5], maps[7, :, :5] = False, np.where(np.isnan(maps[7, :, :5]), NAN, 0)
        found = Agreement(maps, compared, torch.arange(8))
        text = self.rebuilt(torus_run, tmp_path, "agreement_of", found)
        section = text[text.index('<section id="agreement">') : text.index('<section id="views">')]
        for name, views, share in (
            ("held out", [6, 7], "77%"),
            ("fitted", [0, 1, 2, 4, 5], "100%"),
        ):
            mean = np.nanmean(maps[views])
            cells = f"<td>{len(views)}</td><td>{mean:.3f}</td><td>{share}</td>"
            assert f'<th scope="row">{name}</th>{cells}' in section
        assert "7 of 8 views were scored" in section
        assert f"<strong>view_007</strong>, held out, ZNCC {np.nanmean(maps[7]):.3f}" in section
        assert "linear-gradient(to right, #0d0887, " in section
        header = text[text.index("<header>") : text.index("</header>")]
        assert f"<b>{np.nanmean(maps[[6, 7]]):.3f}</b> agreement between photographs" in header
        table = text[text.index('<section id="views">') : text.index('<section id="loss">')]
        images = (
            r'src="data:image/webp;base64,([^"]+)" width="32" height="28" alt="view_00(\d), agr'
        )
        shown = {int(n): base64.b64decode(unescape(data)) for data, n in re.findall(images, table)}
        assert set(shown) == {0, 1, 2, 4, 5, 6, 7}
        assert table.count("not scored") == 1
        pixels = iio.imread(shown[7], extension=".webp").astype(int)
        assert pixels.shape == (28, 32, 4)
        assert pixels[:5, :, 3].max() < 10  # outside
        assert pixels[8:, :, 3].min() > 245
        np.testing.assert_allclose(pixels[12:, 2:11, :3].mean((0, 1)), 191, atol=6)  # grey
        assert np.ptp(pixels[12:, 18:, :3].mean((0, 1))) > 60

    def test_nothing_to_compare(self, torus_run: Path) -> None:
        """These views are too far from each other: no number is shown as if it said something."""
        text = (torus_run / "report.html").read_text(encoding="utf-8")
        assert '<th scope="row">fitted</th><td>6</td><td>–</td><td>0%</td>' in text
        assert "here the number says little" in text
        assert "agreement between photographs (ZNCC)" not in text
        assert 'class="warning"' not in text

    def rebuilt(
        self,
        torus_run: Path,
        tmp_path: Path,
        patched: str,
        value: object,
        told: dict[str, object] | None = None,
    ) -> str:
        """The report of a run, where one function of its results returns `value`."""
        run = tmp_path / "run"
        shutil.copytree(torus_run, run)
        if told is not None:
            file = run / "appearance.json"
            file.write_text(json.dumps({**json.loads(file.read_text()), **told}))
        with (
            patch.object(sys, "argv", ["multiview", "report", str(run)]),
            patch(f"multiview.results.results.{patched}", return_value=value),
        ):
            assert cli.main() == 0
        return (run / "report.html").read_text(encoding="utf-8")

    def test_candidates_and_warnings(self, torus_run: Path, tmp_path: Path) -> None:
        doubts = ["masks <b> contradict", "colours are not explained: try --light per-view"]
        text = self.rebuilt(torus_run, tmp_path, "doubts", doubts, told())
        header = text[text.index("<header>") : text.index("</header>")]
        assert "<b>Warnings</b>" in header
        assert "<li>Masks &lt;b&gt; contradict.</li>" in header
        assert "try <code>--light</code> per-view.</li>" in header
        choice = text[text.index('<section id="choice">') : text.index('<section id="loss">')]
        chosen = '<tr class="chosen"><th scope="row">many colours (chosen)</th>'
        assert f"{chosen}<td>one per photograph</td><td>one for all</td><td>40.0</td>" in choice
        assert "<td>–</td><td>one per photograph</td><td>–</td><td>–</td>" in choice
