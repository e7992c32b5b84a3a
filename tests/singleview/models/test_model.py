from __future__ import annotations

import pytest
import torch

from sdfrender import Lattice
from singleview.models import Small, build_model
from singleview.models.sdfdiff import Paper, Refiner
from singleview.training.schedule import enter_stage


@pytest.fixture(scope="module")
def paper() -> Paper:
    """The network of the paper's size, before it has learned; a second or two to draw."""
    torch.manual_seed(0)
    return Paper(channels=1)


@pytest.mark.parametrize("size", [64, 40])
def test_untrained_small_network_says_about_a_sphere(size: int) -> None:
    torch.manual_seed(0)
    model = Small(channels=1, resolution=16).eval()
    with torch.no_grad():
        values = model(torch.rand(2, size, size, 1))
    sphere = Lattice.sphere(0.5, resolution=16).values
    assert values.shape == (2, 16, 16, 16)
    assert float((values - sphere).abs().mean()) < 0.1


def test_untrained_paper_network_says_a_sphere_with_and_without_refiner(paper: Paper) -> None:
    sphere = Lattice.sphere(0.5, resolution=64).values.clamp(max=0.95)
    with torch.no_grad():
        for stage in (0, 1):
            enter_stage(paper, stage)
            paper.eval()
            values = paper(torch.rand(1, 64, 64, 1))
            assert values.shape == (1, 64, 64, 64)
            assert float((values - sphere).abs().max()) < 0.1


def test_paper_network_has_the_papers_layers() -> None:
    with torch.device("meta"):  # layers without numbers
        model = Paper(channels=3)
    linear = [m.out_features for m in model.modules() if isinstance(m, torch.nn.Linear)]
    assert linear == [1024, 1024, 512, 1024, 1024, 2048, 64 * 512, 2048, 256 * 64]
    flat = [m for m in model.encoder if isinstance(m, torch.nn.Conv2d)]
    assert [(m.out_channels, m.kernel_size, m.stride) for m in flat] == [
        (n, (5, 5), (2, 2)) for n in (64, 128, 256)
    ]
    solid = [m for m in model.refiner.down.modules() if isinstance(m, torch.nn.Conv3d)]
    assert [(m.out_channels, m.kernel_size) for m in solid] == [
        (n, (4, 4, 4)) for n in (32, 64, 128, 256)
    ]


def test_stages_of_the_paper_train_the_parts_they_should(paper: Paper) -> None:
    learning = []
    for stage in (0, 1, 2):
        paper.train()
        enter_stage(paper, stage)
        parts = (paper.encoder, paper.decoder, paper.refiner)
        learning.append([all(p.requires_grad for p in part.parameters()) for part in parts])
        assert [part.training for part in parts] == learning[-1]
        assert bool(paper.refine) == (stage > 0)
    assert learning == [[True, True, False], [False, False, True], [True, True, True]]


def test_refiner_keeps_the_shape_and_reaches_every_input() -> None:
    torch.manual_seed(0)
    refiner = Refiner()
    values = torch.rand(1, 64, 64, 64, requires_grad=True)
    refiner(values).sum().backward()
    assert values.grad is not None
    assert float((values.grad != 0).float().mean()) > 0.9


def test_small_network_predicts_each_image_on_its_own() -> None:
    torch.manual_seed(0)
    model = Small(channels=1, resolution=12).eval()
    images = torch.rand(3, 64, 64, 1)
    with torch.no_grad():
        together = model(images)
        alone = torch.cat([model(x[None]) for x in images])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_a_description_builds_the_same_network() -> None:
    with torch.device("meta"):
        for model in (Small(3, 10, width=16, code=20, anchors=5), Paper(1)):
            again = build_model(**model.description())  # type: ignore[arg-type]
            shapes = {name: x.shape for name, x in model.state_dict().items()}
            assert shapes == {name: x.shape for name, x in again.state_dict().items()}


def test_a_span_holds_its_shapes_and_the_variants() -> None:
    shapes = torch.stack([Lattice.sphere(r, resolution=16).values for r in (0.4, 0.5, 0.6)])
    variants = torch.stack(
        [Lattice.sphere(0.5, (x, 0.0, 0.0), resolution=16).values for x in (-0.2, 0.1, 0.2)]
    )
    model = Small(1, 16, width=8, code=8, anchors=3)
    model.span(shapes, variants)
    near = model.start + torch.nn.functional.pad(
        model.basis(model.anchors).reshape(3, 14, 14, 14), (1,) * 6
    )
    inside = (slice(None), *[slice(1, -1)] * 3)
    torch.testing.assert_close(near[inside], shapes.clamp(-0.15, 0.15)[inside], atol=1e-3, rtol=0)
    basis = torch.linalg.qr(model.basis.weight[:, :5])[0]
    rest = (variants.clamp(-0.15, 0.15) - model.start)[inside].flatten(1)
    torch.testing.assert_close(rest @ basis @ basis.T, rest, atol=2e-3, rtol=0)


def test_a_span_of_few_shapes_leaves_the_rest_of_the_code_unused() -> None:
    shapes = torch.stack([Lattice.sphere(r, resolution=16).values for r in (0.4, 0.6)])
    model = Small(1, 16, width=8, code=8, anchors=2)
    model.span(shapes, shapes[:0])
    assert int((model.basis.weight.abs().sum(0) > 0).sum()) == 1
    assert bool(model(torch.rand(1, 64, 64, 1)).isfinite().all())
