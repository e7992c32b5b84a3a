"""Light and colour of a fit: recovered from pictures under a light we know, and chosen by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from scene_folders import write_transforms
from torch import Tensor

from multiview.photo.appearance import MODELS, Appearance, Model
from multiview.photo.choose_appearance import candidates, choose_look, prediction_error
from multiview.photo.known_light import choose_light
from multiview.photo.targets import Targets
from multiview.scenes import Scene, load_scene
from sdfrender import (
    Cameras,
    Directional,
    Headlight,
    InputError,
    Lattice,
    Lighting,
    Rendering,
    render,
)
from sdfrender.view.lighting import sh_basis

CAMERAS = Cameras.cube(distance=3.0, width=24, height=20)
BALL = Lattice.sphere(0.7, (0.1, -0.05, 0.0), 20)
# Bright enough to be positive everywhere, and of another colour in each direction.
SH = torch.tensor(
    [[1.8, 1.6, 1.5], [0.3, -0.2, 0.1], [-0.2, 0.25, 0.0], [0.1, 0.2, -0.3], [0.05, -0.1, 0.1],
     [-0.1, 0.0, 0.05], [0.08, 0.06, -0.04], [0.0, 0.1, 0.05], [-0.06, 0.02, 0.09]]
)  # fmt: skip
KNOWN = Lighting(ambient=0.2, headlight=Headlight(0.5), directional=[Directional((0, 1, 0), 0.3)])


BLANK = Targets(CAMERAS, torch.zeros(26, 20, 24, 3), *[torch.ones(26, 20, 24)] * 3)


def photographed(lighting: Lighting, albedo: Tensor | float = 1.0) -> Targets:
    out = render(BALL, CAMERAS, lighting=lighting, albedo=albedo)
    ones = torch.ones_like(out.silhouettes)
    return Targets(CAMERAS, out.images, out.silhouettes, ones, ones)


def rendered(look: Appearance) -> Rendering:
    return look.render(BALL, BLANK)


def learn(look: Appearance, targets: Targets, passes: int = 1) -> None:
    for _ in range(passes):
        look.observe(rendered(look), targets, BALL)
        look.solve()


@pytest.mark.parametrize("passes", [1, 2])  # without and with reweighting
def test_an_unknown_light_is_recovered(passes: int) -> None:
    look = Appearance(3, None)
    learn(look, photographed(Lighting(headlight=None, sh=SH)), passes)
    # The ridge draws the brightest coefficient by a thousandth; all others keep within that too.
    torch.testing.assert_close(look.light.sh, SH, atol=1e-3, rtol=1.1e-3)
    normals = torch.nn.functional.normalize(
        torch.randn(500, 3, generator=torch.Generator().manual_seed(0)), dim=-1
    )
    torch.testing.assert_close(sh_basis(normals) @ look.light.sh, sh_basis(normals) @ SH,
                               atol=1e-3, rtol=1e-3)  # fmt: skip
    assert torch.equal(look.albedo, torch.ones(3))
    assert look.lighting(BLANK).headlight is None


@pytest.mark.parametrize("albedo", [[0.8, 0.5, 0.25], [0.4]])
def test_an_albedo_under_a_known_light_is_recovered(albedo: list[float]) -> None:
    look = Appearance(len(albedo), KNOWN)
    learn(look, photographed(KNOWN, torch.tensor(albedo)), passes=2)
    torch.testing.assert_close(look.albedo, torch.tensor(albedo), atol=1e-3, rtol=0)
    assert look.lighting(BLANK) is KNOWN


@pytest.mark.parametrize("model", ["constant", "albedo"])
@pytest.mark.parametrize("lit", [(True, False, True), (False, True, False), (False, False, False)])
def test_a_known_light_without_a_channel_tells_the_others(
    model: Model, lit: tuple[bool, ...]
) -> None:
    """A red lamp: what it does not show is grey, and nothing is divided by nothing."""
    color = torch.tensor([0.8, 0.5, 0.25])
    shining, on = torch.tensor(lit).float(), torch.tensor(lit)
    known = Lighting(
        0.2 * shining, Headlight(0.5 * shining), [Directional((0, 1, 0), 0.3 * shining)]
    )
    look = Appearance(3, known, model=model)
    targets = photographed(known, color)
    learn(look, targets, passes=3)  # without and with reweighting, from one colour and from many
    expected = torch.where(on, color, color[on].mean() if on.any() else 1.0)
    surface = look.albedo[None]
    if model == "albedo":
        surface = look.albedo[BALL.values.abs() < BALL.spacing.max()]
    torch.testing.assert_close(surface, expected.expand_as(surface), atol=0.03, rtol=0)
    assert torch.isfinite(look.albedo).all()
    torch.testing.assert_close(rendered(look).images, targets.images, atol=0.03, rtol=0)


@pytest.mark.parametrize("known", [None, KNOWN])
def test_a_few_wrong_pixels_hardly_matter(known: Lighting | None) -> None:
    """5% of the pixels are as bright as a highlight: the reweighted solve leaves them out."""
    light = known or Lighting(headlight=None, sh=SH)
    albedo = torch.tensor([0.5, 0.4, 0.3])
    truth = photographed(light, albedo)
    wrong = torch.rand(truth.silhouettes.shape, generator=torch.Generator().manual_seed(0)) < 0.05
    targets = Targets(CAMERAS, torch.where(wrong[..., None], 1.0, truth.images),
                      truth.silhouettes, *[torch.ones_like(truth.silhouettes)] * 2)  # fmt: skip

    def error(look: Appearance) -> float:
        inside = truth.silhouettes > 0.99
        return float((rendered(look).images - truth.images)[inside].abs().mean())

    look = Appearance(3, known)
    learn(look, targets)
    plain = error(look)
    learn(look, targets)
    reweighted = error(look)
    assert plain > 0.02  # the wrong pixels do pull
    assert reweighted < 0.3 * plain
    learn(look, targets, 3)
    assert error(look) < 0.005


@pytest.mark.parametrize("known", [None, KNOWN])
def test_only_pixels_that_count_are_looked_at(known: Lighting | None) -> None:
    light = known or Lighting(headlight=None, sh=SH)
    truth = photographed(light, torch.tensor([0.8, 0.6, 0.4]))
    partly = truth.silhouettes.clone()
    partly[:, :, 16:] = 0.5  # half covered: the colour is a mixture
    ignored = torch.ones_like(partly)
    ignored[:, :, :9] = 0
    ones = torch.ones_like(partly)
    counts = (partly > 0.9) & (ignored > 0)
    broken = torch.where(counts[..., None], truth.images, torch.tensor(0.9))

    def learnt(images: Tensor, silhouettes: Tensor, weights: Tensor) -> dict[str, Tensor]:
        look = Appearance(3, known)
        learn(look, Targets(CAMERAS, images, silhouettes, ones, weights), 2)
        return look.state()

    plain, masked, seen = (
        learnt(truth.images, partly, ignored),
        learnt(broken, partly, ignored),
        learnt(broken, truth.silhouettes, ones),  # the same where they do count
    )
    name = "albedo" if known else "sh"
    assert torch.equal(masked[name], plain[name])
    assert float((seen[name] - plain[name]).abs().max()) > 0.01


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("known", [None, KNOWN])
def test_what_is_kept_is_all_that_matters(known: Lighting | None, model: Model) -> None:
    targets = photographed(known or Lighting(headlight=None, sh=SH), torch.tensor([0.8, 0.6, 0.4]))
    first = Appearance(3, known, model, lens=True)
    learn(first, targets)
    second = Appearance(3, known, lens=True)
    second.restore({name: x.clone() for name, x in first.state().items()}, 10**6)
    other = photographed(KNOWN, torch.tensor([0.3, 0.5, 0.9]))  # large residuals: weights matter
    for look in (first, second):
        learn(look, other, 2)
    for name, x in first.state().items():
        assert torch.equal(second.state()[name], x), name
    assert first.description() == second.description()


def test_the_description_is_a_light_that_can_be_read_back(tmp_path: Path) -> None:
    look = Appearance(3, None)
    learn(look, photographed(Lighting(headlight=None, sh=SH)))
    stated = json.loads(json.dumps(look.description()))
    assert list(stated) == ["model", "albedo", "blur", "lighting"]
    file = tmp_path / "light.json"
    file.write_text(json.dumps(stated["lighting"]))
    light = choose_light(str(file), some_scene(tmp_path / "scene"))
    assert light is not None
    assert light.sh is not None
    assert torch.equal(light.sh, look.light.sh)
    assert light.headlight is None
    sharp = {"model": "constant", "albedo": [1.0], "blur": 0.0}
    assert Appearance(1, KNOWN).description() == sharp


# ---------------------------------------------------------------------- a lattice of colours


def painted(resolution: int = 31) -> Tensor:
    """Stripes of three colours in the ball's box: `[31, 31, 31, 3]`."""
    x = torch.linspace(-1, 1, resolution)[:, None, None, None]
    phases = torch.tensor([0.0, 1.0, 2.0])
    return (0.6 + 0.3 * torch.sin(4 * x + phases)).expand(*[resolution] * 3, 3).contiguous()


@pytest.mark.parametrize(
    ("known", "model"), [(KNOWN, "albedo"), (None, "albedo"), (Lighting(1.0, None), "radiance")]
)
def test_a_painted_surface_is_recovered(known: Lighting | None, model: Model) -> None:
    light = known or Lighting(headlight=None, sh=SH)
    truth = photographed(light, painted())
    look = Appearance(3, None if model == "radiance" else known, model)
    learn(look, truth, passes=4)
    inside = truth.silhouettes > 0.99
    error = (rendered(look).images - truth.images)[inside].abs().mean()
    plain = Appearance(3, known)
    learn(plain, truth, passes=2)
    assert float(error) < 0.02
    assert float(error) < 0.4 * float((rendered(plain).images - truth.images)[inside].abs().mean())


@pytest.mark.parametrize("known", [None, KNOWN])
def test_the_simplest_model_that_predicts_is_chosen(known: Lighting | None) -> None:
    light = known or Lighting(headlight=None, sh=SH)
    painted_views = photographed(light, painted())
    look, looks = Appearance(3, known), candidates(MODELS, ("scene",))
    plain = photographed(light, torch.tensor([0.8, 0.5, 0.3]))
    assert choose_look(BALL, plain, look, looks).model == "constant"
    # Under an unknown light a ball's paint may as well be light: its points and normals are one.
    chosen = choose_look(BALL, painted_views, look, looks)
    assert chosen.model in (["albedo"] if known else MODELS[1:])
    glowing = photographed(Lighting(1.0, None), painted())
    constant, _, radiance = (prediction_error(BALL, glowing, look, x) for x in looks)
    assert radiance < 0.02 < constant
    # none to hold back
    assert choose_look(BALL, painted_views[[0, 1]], look, looks).model == "constant"


def test_shadows_count_only_where_a_colour_can_explain_them() -> None:
    truth = photographed(KNOWN)
    doubt = torch.rand(truth.silhouettes.shape, generator=torch.Generator().manual_seed(0))
    targets = Targets(CAMERAS, truth.images, truth.silhouettes, doubt, 0.5 * doubt)
    assert torch.equal(Appearance(3, KNOWN).trust(targets), 0.5 * doubt * doubt)
    assert torch.equal(Appearance(3, KNOWN, "albedo").trust(targets), 0.5 * doubt)


# ---------------------------------------------------------------------- which light


def some_scene(folder: Path, lighting: dict[str, object] | None = None) -> Scene:
    stated = {} if lighting is None else {"sdfrender": {"lighting": lighting}}
    return load_scene(write_transforms(folder, **stated))


def test_auto_is_the_scenes_light_or_none(tmp_path: Path) -> None:
    lit, unlit = some_scene(tmp_path / "a", {"ambient": 0.25}), some_scene(tmp_path / "b")
    assert lit.lighting is not None
    assert choose_light("auto", lit) is lit.lighting
    assert choose_light("scene", lit) is lit.lighting
    assert choose_light("auto", unlit) is None
    assert choose_light("estimate", lit) is None
    assert choose_light("estimate", unlit) is None


def test_a_light_from_a_file_goes_before_the_scenes(tmp_path: Path) -> None:
    file = tmp_path / "Lamp.JSON"
    file.write_text('{"directional": [{"to_light": [0, 2, 0], "intensity": 0.5}]}')
    light = choose_light(str(file), some_scene(tmp_path / "a", {"ambient": 0.25}))
    assert light is not None
    assert (light.ambient, light.headlight) == (0.0, None)
    assert [d.intensity for d in light.directional] == [0.5]


@pytest.mark.parametrize(
    ("choice", "needles"),
    [
        ("scene", ("--light scene", "states no light", "--light estimate")),
        ("sun", ("--light", "'sun'", "auto, estimate, camera, per-view, scene")),
        ("light.txt", ("--light", "'light.txt'", ".json")),
        ("absent.json", ("absent.json", "no such file")),
        ("broken.json", ("broken.json",)),
        ("list.json", ("list.json",)),
        ("misspelt.json", ("misspelt.json", "ambiant")),
        ("nan.json", ("nan.json", "ambient")),
    ],
)
def test_a_light_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, choice: str, needles: tuple[str, ...]
) -> None:
    contents = {"broken": '{"ambient": ', "list": "[1, 2]", "misspelt": '{"ambiant": 1}',
                "nan": '{"ambient": NaN}'}  # fmt: skip
    for name, text in contents.items():
        (tmp_path / f"{name}.json").write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        choose_light(choice, some_scene(tmp_path / "scene"))
    assert "\n" not in str(caught.value)
    for needle in needles:
        assert needle in str(caught.value)
