"""Occupancy samples, what networks make of observations, and the decoder's maths."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import trimesh
from occupancy_tiny import write_samples, write_solids

from sdfrender.errors import InputError
from sdfrender.geometry.mesh_files import save_mesh
from singleview.config import SamplePointsConfig
from singleview.data.layouts.onet import read_onet
from singleview.data.open import open_samples
from singleview.data.samples import HALF_PADDED_BOX, PADDED_BOX, Samples, voxel_at, voxels
from singleview.from_meshes.sample_points import sample_points
from singleview.measures.occupancy import best_threshold, extract, iou_at
from singleview.models import build_model
from singleview.models.encoders import Code, Neighbours, VoxelEncoder
from singleview.models.image_encoders import ImageEncoder
from singleview.models.observations import Observer
from singleview.models.occupancy import (
    ConditionalNorm,
    OccupancyDecoder,
    OccupancyNetwork,
    OccupancyShape,
    paper_shape,
    small_shape,
)
from singleview.settings.choices import Input

KINDS: tuple[Input, ...] = ("image", "points", "voxels", "none", "index")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_samples(tmp_path_factory.mktemp("occupancy"))


@pytest.fixture(scope="module")
def samples(folder: Path) -> Samples:
    return open_samples(folder)


def observation(kind: Input, batch: int = 2, seed: int = 0) -> torch.Tensor | None:
    g = torch.Generator().manual_seed(seed)
    if kind == "none":
        return None
    shapes = {"image": (20, 20, 1), "points": (30, 3), "voxels": (8, 8, 8), "index": ()}
    if kind == "index":
        return torch.arange(batch)
    return torch.rand(batch, *shapes[kind], generator=g) - (0.5 if kind == "points" else 0)


# ---------------------------------------------------------------------- samples


def test_occupancy_is_that_of_the_stored_points(samples: Samples) -> None:
    assert len(samples) == 6
    assert samples.points.shape == (6, 3000, 3)
    assert samples.points.dtype == torch.float16
    i = samples.names.index("brick/0")
    half = torch.tensor([1.0, 2.0, 1.5]) * 1.5 / 2 / 2
    for points, inside in ((samples.points[i], samples.inside[i]),
                           (samples.near[i], samples.near_inside[i])):  # fmt: skip
        beyond = (points.float().abs() - half).amax(-1)
        clear = beyond.abs() > 2e-3  # winding numbers are evaluated fast, not exactly
        assert torch.equal(inside[clear], beyond[clear] < 0)
    assert samples.points.float().abs().max() <= HALF_PADDED_BOX + 1e-3
    share = float(samples.inside[i].float().mean())
    assert share == pytest.approx(float((2 * half).prod()) / (2 * HALF_PADDED_BOX) ** 3, abs=0.03)
    on = ((samples.surface[i].float().abs() - half).abs() < 2e-3).any(-1)
    assert bool(on.all())
    outward = (samples.normals[i] * samples.surface[i].sign()).float().sum(-1)
    assert float(outward.min()) > 0.99


def test_samples_depend_on_the_seed_and_not_on_each_other(folder: Path, tmp_path: Path) -> None:
    again = open_samples(write_samples(tmp_path / "again"))
    assert torch.equal(again.points, open_samples(folder).points)
    assert again.splits.count("val") == 2
    other = open_samples(write_samples(tmp_path / "other", seed=1, split="all"))
    assert not torch.equal(other.points, again.points)
    assert set(other.splits) == {"train"}


def test_interrupted_sampling_goes_on_and_other_settings_are_refused(tmp_path: Path) -> None:
    folder = write_samples(tmp_path)
    shard = folder / "samples_000.safetensors"
    before = shard.read_bytes()
    shard.unlink()
    write_samples(tmp_path)
    assert shard.read_bytes() == before
    with pytest.raises(InputError, match="other objects or settings"):
        write_samples(tmp_path, points=10)


def test_bad_samples_are_named(tmp_path: Path) -> None:
    meshes = write_solids(tmp_path / "meshes")
    with pytest.raises(InputError, match="--points: need from 1"):
        sample_points(SamplePointsConfig(meshes, tmp_path / "out", points=0))
    with pytest.raises(InputError, match="--split: need protocol"):
        sample_points(SamplePointsConfig(meshes, tmp_path / "out", split="nowhere"))
    open_ball = trimesh.creation.icosphere(subdivisions=1)
    open_ball.update_faces([False] + [True] * (len(open_ball.faces) - 1))
    save_mesh(meshes / "ball" / "0.ply", open_ball)
    with pytest.raises(InputError, match=r"ball.0\.ply: need a watertight mesh"):
        sample_points(SamplePointsConfig(meshes, tmp_path / "out"), quiet=True)
    with pytest.raises(InputError, match="need samples of occupancy"):
        open_samples(meshes)
    with pytest.raises(InputError, match="no such folder"):
        open_samples(tmp_path / "nowhere")
    folder = write_samples(tmp_path / "cut")
    (folder / "samples_000.safetensors").write_bytes(b"cut")
    with pytest.raises(InputError, match=r"samples_000\.safetensors: need a shard"):
        open_samples(folder)


def test_the_layout_of_occupancy_networks(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, count in (("a", 24), ("b", 20)):
        folder = tmp_path / "02828884" / name
        folder.mkdir(parents=True)
        points = rng.uniform(-0.55, 0.55, (count, 3)).astype(np.float16)
        inside = (np.linalg.norm(points, axis=1) < 0.4).astype(bool)
        stored = np.packbits(inside) if name == "a" else inside
        np.savez(folder / "points.npz", points=points, occupancies=stored, loc=0.0, scale=1.0)
        np.savez(folder / "pointcloud.npz", points=points[:7], normals=np.eye(3)[[0] * 7])
    (tmp_path / "02828884" / "train.lst").write_text("a\n")
    (tmp_path / "02828884" / "test.lst").write_text("b\n")
    found = open_samples(tmp_path)
    assert found.splits == ("train", "test")
    assert found.names[0].endswith("/a")
    assert found.points.shape == (2, 20, 3)  # cut to the fewest
    assert torch.equal(found.inside, found.points.float().norm(dim=-1) < 0.6)
    assert found.near.shape == (2, 0, 3)
    np.savez(tmp_path / "02828884" / "b" / "points.npz", points=points[:, :2], occupancies=inside)
    with pytest.raises(InputError, match=r"points\.npz: .* needs numbers \[P, 3\], got float16"):
        read_onet(tmp_path)


def test_voxels_hold_what_is_in_them() -> None:
    solid = torch.tensor([[0.0, 0.0, 0.0], [0.8, -0.8, 0.1]])
    grid = voxels(solid, 4)
    assert grid.sum() == 2
    assert grid[2, 2, 2] == 1
    assert grid[3, 0, 2] == 1
    assert voxel_at(grid, solid).tolist() == [1, 1]
    assert voxel_at(grid, -solid[1:] + torch.tensor([[0.0, 0.0, 0.3]])).tolist() == [0]
    assert voxels(torch.zeros(0, 3), 4).sum() == 0


def test_observations_are_repeatable_and_differ_by_seed(samples: Samples) -> None:
    observer = Observer("points", samples, None, cloud=40, noise=0.01, voxels=8)
    a, b, c = (observer.fixed(2, seed) for seed in (0, 0, 1))
    assert a is not None
    assert b is not None
    assert c is not None
    assert a.shape == (1, 40, 3)
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    quiet = replace(observer, noise=0.0).fixed(2)
    assert quiet is not None
    assert float((a - quiet).std()) == pytest.approx(0.015, rel=0.2)  # of a side of 1.5
    grid = replace(observer, kind="voxels").fixed(2)
    assert grid is not None
    assert grid.shape == (1, 8, 8, 8)
    found = voxel_at(grid[0], samples.points[2]) > 0
    assert bool(found[samples.inside[2]].all())  # what is inside is in a filled voxel


# ---------------------------------------------------------------------- networks


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("conditioning", ["batch-norm", "input"])
def test_every_network_learns_from_all_its_parts(kind: Input, conditioning: str) -> None:
    torch.manual_seed(0)
    model = OccupancyNetwork(small_shape(kind, conditioning, objects=2))  # type: ignore[arg-type]
    again = build_model(**model.description())  # type: ignore[arg-type]
    assert [x.shape for x in again.parameters()] == [x.shape for x in model.parameters()]
    for layer in model.modules():  # what begins at zero hides what comes before it
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.normal_(layer.weight, std=0.3)
    points = torch.rand(2, 16, 3) - 0.5
    inside = points[..., 0] > 0
    logits, kl = model(observation(kind), points, inside)
    assert logits.shape == (2, 16)
    (logits.square().sum() + kl.sum()).backward()
    for name, x in model.named_parameters():
        assert x.grad is not None, name
        assert float(x.grad.abs().sum()) > 0 or name.endswith("last.bias"), name


@pytest.mark.parametrize("kind", ["points", "voxels"])
def test_the_code_matters_and_places_too(kind: Input) -> None:
    torch.manual_seed(0)
    model = OccupancyNetwork(small_shape(kind)).eval()
    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.normal_(layer.weight, std=0.3)
    points = torch.rand(1, 8, 3) - 0.5
    seen, other = observation(kind, 1), observation(kind, 1, seed=1)
    assert seen is not None
    assert other is not None
    a, b = model.encode(seen), model.encode(other)
    logits = model.decoder(points, a)
    assert not torch.allclose(logits, model.decoder(points, Code(b.vector, a.places)))
    assert not torch.allclose(logits, model.decoder(points, Code(a.vector, b.places)))


def test_conditional_batch_normalisation_begins_as_the_plain_one() -> None:
    x, code = torch.randn(3, 50, 6) * 2 + 1, torch.randn(3, 4)
    norm = ConditionalNorm(4, 6)
    flat = norm(x, code).flatten(0, 1)
    assert torch.allclose(flat.mean(0), torch.zeros(6), atol=1e-5)
    assert torch.allclose(flat.var(0, correction=0), torch.ones(6), atol=1e-3)
    torch.nn.init.normal_(norm.scale.weight)
    torch.nn.init.normal_(norm.shift.weight)
    # Equation of §3.1: γ(c) (x − μ) / sqrt(σ² + ε) + β(c), for each object its own γ and β.
    mean, var = x.flatten(0, 1).mean(0), x.flatten(0, 1).var(0, correction=0)
    expected = norm.scale(code)[:, None] * (x - mean) / (var + 1e-5).sqrt()
    assert torch.allclose(norm(x, code), expected + norm.shift(code)[:, None], atol=1e-5)


def test_gradients_of_the_field_in_the_points_by_finite_differences() -> None:
    torch.manual_seed(0)
    shape = OccupancyShape("points", hidden=8, blocks=1, code=5, encoder=6, features=4)
    model = OccupancyNetwork(shape).double().eval()
    for layer in model.decoder.modules():
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.normal_(layer.weight, std=0.5)
    cloud = torch.rand(1, 20, 3, dtype=torch.float64) - 0.5
    field = model.field(model.encode(cloud), 0.3)
    points = (torch.rand(6, 3, dtype=torch.float64) - 0.5).requires_grad_()
    assert torch.autograd.gradcheck(field, points, eps=1e-7, atol=1e-5)


def test_the_field_is_zero_at_the_threshold_and_negative_inside() -> None:
    model = OccupancyNetwork(small_shape("index")).eval()
    torch.nn.init.normal_(model.decoder.last.weight)
    code = model.encode(torch.zeros(1, dtype=torch.long))
    points = torch.rand(50, 3) - 0.5
    chance = torch.sigmoid(model.decoder(points[None], code)[0])
    for threshold in (0.2, 0.5):
        values = model.field(code, threshold)(points)
        assert torch.equal(values < 0, chance > threshold)


def test_features_of_a_place_are_those_of_its_neighbours_and_continuous() -> None:
    torch.manual_seed(0)
    layer = Neighbours(5, 4, count=3).double()
    cloud, features = torch.rand(2, 10, 3).double(), torch.randn(2, 10, 5).double()
    places = layer(cloud, features)
    points = torch.rand(2, 7, 3).double()
    found = places(points)
    for b in range(2):
        for p in range(7):  # a plain twin
            offsets = (points[b, p] - cloud[b]) / 1.5
            d, near = offsets.norm(dim=-1).sort()
            d, near = d[:3], near[:3]
            seen = torch.cat((offsets[near], d[:, None]), -1)
            said = torch.relu(layer.of_point(features[b, near]) + 10 * layer.of_offset(seen))
            w = 1 - d / d[-1] + 1e-6
            twin = layer.last((w[:, None] * said).sum(0) / w.sum())
            assert torch.allclose(found[b, p], twin, atol=1e-5)
    line = torch.linspace(0, 1, 4001).double()[:, None] * torch.tensor([1.0, 0.7, 0.4]).double()
    along = layer(cloud[:1], features[:1])(line[None])[0].detach()
    assert float((along[1:] - along[:-1]).abs().max()) < 0.05  # no jump where neighbours change


def test_voxel_features_are_read_where_the_voxels_are() -> None:
    torch.manual_seed(0)
    encoder = VoxelEncoder(4, 2, 3)
    grid = torch.zeros(1, 8, 8, 8)
    grid[0, 6, 1, 3] = 1.0
    center = (torch.tensor([6.0, 1.0, 3.0]) + 0.5) / 8 * 2 * HALF_PADDED_BOX - HALF_PADDED_BOX
    empty = encoder(torch.zeros_like(grid)).places
    places = encoder(grid).places
    assert places is not None
    assert empty is not None
    far = -center
    points = torch.stack((center, far))[None]
    moved = (places(points) - empty(points)).abs().sum(-1)[0]
    assert moved[0] > 10 * moved[1]


def test_the_divergence_is_that_of_gaussians() -> None:
    torch.manual_seed(0)
    model = OccupancyNetwork(small_shape("none"))
    points = torch.rand(3, 20, 3) - 0.5
    inside = points[..., 0] > 0
    mean, log_std = model.posterior(points, inside)
    _, kl = model(None, points, inside)
    posterior = torch.distributions.Normal(mean, log_std.exp())
    expected = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0))
    assert torch.allclose(kl, expected.sum(-1), rtol=1e-4)


def test_paper_sizes() -> None:
    sizes = {}
    for kind in KINDS:
        shape = paper_shape(kind)
        width = 128 if kind == "none" else 256  # without an observation theirs is a small one
        assert (shape.hidden, shape.blocks, shape.features) == (width, 5, 0)
        sizes[kind] = sum(p.numel() for p in OccupancyNetwork(shape).parameters())
    assert 13e6 < sizes["image"] < 14e6  # 13.4 million in the paper's code
    assert all(small < sizes[kind] for kind in KINDS if kind != "none" for small in [
        sum(p.numel() for p in OccupancyNetwork(small_shape(kind)).parameters())
    ])  # fmt: skip


def test_resnet18_takes_published_weights(tmp_path: Path) -> None:
    encoder = ImageEncoder(256)
    own = {k: x for k, x in encoder.state_dict().items() if not k.startswith("last.")}
    learned = [k for k, _ in encoder.named_parameters() if not k.startswith("last.")]
    assert sum(own[k].numel() for k in learned) == 11_176_512  # ResNet-18 without its classifier
    changed = {k: x + 1 if x.is_floating_point() else x for k, x in own.items()}
    file = tmp_path / "resnet18.safetensors"
    safetensors.torch.save_file({**changed, "fc.weight": torch.zeros(1000, 512)}, file)
    encoder.load_weights(file)
    assert torch.equal(encoder.conv1.weight, changed["conv1.weight"])
    safetensors.torch.save_file({"conv1.weight": own["conv1.weight"]}, file)
    with pytest.raises(InputError, match="it differs in"):
        encoder.load_weights(file)
    with pytest.raises(InputError, match="no such file"):
        encoder.load_weights(tmp_path / "nothing")
    with pytest.raises(InputError, match="need --input image"):
        OccupancyNetwork(small_shape("points")).load_image_weights(file)


# ---------------------------------------------------------------------- measures and meshes


def test_thresholds_and_iou() -> None:
    inside = torch.tensor([True, True, False, False])
    logits = torch.tensor([2.0, -0.5, -1.0, -4.0])
    assert iou_at(logits, inside, 0.5) == 0.5
    assert iou_at(logits, inside, 0.35) == 1.0
    assert iou_at(-torch.ones(4), torch.zeros(4).bool(), 0.5) == 1.0
    threshold, iou = best_threshold([(logits, inside)])
    assert iou == 1.0
    assert 1 / (1 + math.exp(1.0)) < threshold < 1 / (1 + math.exp(0.5))


class Ball(torch.nn.Module):
    """A decoder that knows one shape."""

    def __init__(self, radius: float, scale: float = 20.0) -> None:
        super().__init__()
        self.radius, self.scale = radius, scale

    def forward(self, points: torch.Tensor, code: Code) -> torch.Tensor:
        return self.scale * (self.radius - points.norm(dim=-1))


def test_meshes_of_a_network_are_closed_even_at_the_box() -> None:
    model = OccupancyNetwork(small_shape("index"))
    code = Code(torch.zeros(1, 128))
    for radius in (0.5, 0.95, 5.0):  # inside, cut by the box, all of the box
        model.decoder = Ball(radius)  # type: ignore[assignment]
        mesh = extract(model, code, 0.5, coarse=16, levels=1).mesh()
        assert mesh.is_watertight
        assert np.abs(mesh.vertices).max() <= HALF_PADDED_BOX + 1e-6
    assert mesh.volume == pytest.approx((PADDED_BOX[1][0] - PADDED_BOX[0][0]) ** 3, rel=1e-5)
    model.decoder = Ball(-1.0)  # type: ignore[assignment]
    with pytest.raises(InputError, match="no surface"):
        extract(model, code, 0.5, coarse=16, levels=1)
    model.decoder = Ball(0.5, math.nan)  # type: ignore[assignment]
    with pytest.raises(InputError, match="finite"):
        extract(model, code, 0.5, coarse=16, levels=1)


def test_decoders_without_blocks_have_their_last_norm() -> None:
    decoder = OccupancyDecoder(OccupancyShape("index", hidden=4, blocks=0, code=3))
    assert decoder(torch.zeros(1, 2, 3), Code(torch.zeros(1, 3))).shape == (1, 2)
