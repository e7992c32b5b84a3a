"""Published weights: every tensor at its place, equal outputs, and what is not known is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from published import SignedDistance, occupancy_network
from torch import Tensor, nn

from sdfrender.errors import InputError
from sdfrender.files.locks import locked
from sdfrender.files.previews import for_display
from singleview import cli
from singleview.models import AutoDecoder, OccupancyNetwork
from singleview.models.encoders import Code
from singleview.published.deepsdf import read_deepsdf
from singleview.published.onet import read_onet
from singleview.training.checkpoint import load_model

KINDS = ("image", "points", "voxels", "none")
write_torch = torch.serialization.save  # as the authors' code wrote their files


def scrambled(net: nn.Module) -> nn.Module:
    """Every number drawn anew: nothing at zero, no statistics at their start.

    In float64, of numbers that float32 holds, as networks are read in float32.
    """
    torch.manual_seed(0)
    for name, x in net.state_dict().items():
        if x.is_floating_point():
            x.copy_(0.3 * torch.randn(x.shape))
            if name.endswith("running_var"):
                x.abs_().add_(0.5)
    return net.double().eval()


def exact(net: nn.Module, seed: int = 0) -> nn.Module:
    """In float64 with weights of few bits, so that sums are exact in whichever order."""
    torch.manual_seed(seed)
    for name, x in net.double().state_dict().items():
        x.copy_(torch.randint(-2, 3, x.shape).double() / 4)
        if name.endswith("weight_v"):  # four numbers in a row, of which the length is 2
            places = torch.rand(x.shape).argsort(1)[:, :4]
            x.zero_().scatter_(1, places, 2.0 * torch.randint(2, places.shape).double() - 1)
        elif name.endswith("weight_g"):
            x.abs_().add_(0.5)
    return net.eval()


def observation(kind: str) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = {"image": (2, 3, 224, 224), "points": (2, 50, 3), "voxels": (2, 32, 32, 32)}[kind]
    x = torch.rand(shape, generator=generator, dtype=torch.float64)
    return {"image": x, "points": x - 0.5, "voxels": (x > 0.7).double()}[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_occupancy_networks_say_what_the_published_ones_do(kind: str, tmp_path: Path) -> None:
    theirs = scrambled(occupancy_network(kind))
    file = tmp_path / "model.pt"
    best = np.float64(0.571)
    write_torch({"model": theirs.state_dict(), "it": 3, "loss_val_best": best}, file)
    ours, about = read_onet(file, 0.2)
    ours = ours.double()
    assert ours.shape.input == kind
    assert about["threshold"] == 0.2
    # The other way round nothing is left over: as many numbers here as there.
    assert sum(x.numel() for x in ours.state_dict().values()) == sum(
        x.numel() for x in theirs.state_dict().values()
    )
    points = torch.rand(2, 30, 3, dtype=torch.float64) - 0.5
    inside = points.norm(dim=-1) < 0.4
    if kind == "none":
        code, spread = theirs.encoder_latent(points, inside.double())
        found, log_std = ours.posterior(1.5 * points, inside)
        torch.testing.assert_close(log_std, spread, rtol=0, atol=1e-12)
    else:
        seen = observation(kind)
        code = theirs.encoder(seen)
        given = {"points": 1.5 * seen, "voxels": seen, "image": None}[kind]
        if given is None:  # what a picture of a bright object in linear light becomes
            linear = 0.1 + 0.9 * seen
            code, given = theirs.encoder(for_display(linear)), linear.permute(0, 2, 3, 1)
        found = ours.encode(given).vector
    torch.testing.assert_close(found, code, rtol=1e-11, atol=1e-11)
    logits = ours.decoder(1.5 * points, Code(code))
    torch.testing.assert_close(logits, theirs.decoder(points, code), rtol=1e-11, atol=1e-11)


def test_without_batch_statistics_outputs_are_the_same_bits(tmp_path: Path) -> None:
    theirs = exact(occupancy_network("none"))
    write_torch({"model": theirs.state_dict()}, tmp_path / "model.pt")
    ours = read_onet(tmp_path / "model.pt", 0.2)[0].double()
    points = torch.randint(-6, 7, (2, 40, 3)).double() / 8
    inside = points[..., 0] > 0
    mean, spread = theirs.encoder_latent(points, inside.double())
    found = ours.posterior(1.5 * points, inside)
    assert torch.equal(found[0], mean)
    assert torch.equal(found[1], spread)
    assert torch.equal(ours.decoder(1.5 * points, Code(mean)), theirs.decoder(points, mean))


def experiment(folder: Path, net: nn.Module, codes: Any, **changes: Any) -> Path:
    """A folder as the authors' code leaves it."""
    network = {"dims": [32] * 8, "latent_in": [4], "norm_layers": list(range(8)),
               "weight_norm": True, "xyz_in_all": False, "use_tanh": False,
               "dropout_prob": 0.2}  # fmt: skip
    specs = {"CodeLength": 6, "ClampingDistance": 0.1, "NetworkSpecs": {**network, **changes},
             "TrainSplit": "split.json"}  # fmt: skip
    for name in ("ModelParameters", "LatentCodes"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "specs.json").write_text(json.dumps(specs))
    (folder / "split.json").write_text(json.dumps({"ShapeNetV2": {"chair": ["a", "b", "c"]}}))
    weights = {f"module.{k}": x for k, x in net.state_dict().items()}  # of several GPUs
    state = {"epoch": 2000, "model_state_dict": weights}
    write_torch(state, folder / "ModelParameters" / "latest.pth")
    write_torch({"epoch": 2000, "latent_codes": codes}, folder / "LatentCodes" / "latest.pth")
    return folder


@pytest.mark.parametrize("form", ["tensor", "table"])
def test_deepsdf_says_the_same_bits_as_the_published_network(form: str, tmp_path: Path) -> None:
    theirs = exact(SignedDistance(6, 32))
    codes = torch.randint(-4, 5, (3, 6)).double() / 4
    stored = codes[:, None] if form == "tensor" else {"weight": codes}
    points = torch.randint(-8, 9, (3, 50, 3)).double() / 8
    probe = torch.cat((codes[0].expand(50, -1), points[0]), 1)
    with torch.no_grad():  # by a power of two, to where the last function is not flat
        theirs.lin8.bias.zero_()
        while float(theirs(probe).abs().max()) > 0.8:
            theirs.lin8.weight.div_(2)
    ours = read_deepsdf(experiment(tmp_path, theirs, stored)).double()
    assert ours.names == ("chair/a", "chair/b", "chair/c")
    found = ours(ours.codes, points)
    assert float(found.std()) > 0.01
    for code, some, values in zip(codes, points, found, strict=True):
        x = torch.cat((code.expand(50, -1), some), 1)
        assert torch.equal(values, theirs(x))


def test_deepsdf_with_any_weights_says_the_same(tmp_path: Path) -> None:
    theirs = scrambled(SignedDistance(6, 32))
    codes = torch.randn(3, 6, dtype=torch.float64)
    field = read_deepsdf(experiment(tmp_path, theirs, {"weight": codes}))
    theirs = theirs.float()
    points = torch.rand(50, 3) - 0.5
    expected = theirs(torch.cat((codes[1].float().expand(50, -1), points), 1))
    torch.testing.assert_close(field(field.codes[1:2], points[None])[0], expected)
    J = field.double().jacobian(codes[1], points.double())[1]
    h = 1e-6 * torch.eye(6, dtype=torch.float64)
    p = points.double()[None]
    differences = (field(codes[1] + h, p) - field(codes[1] - h, p)) / 2e-6
    torch.testing.assert_close(J, differences.T.detach(), rtol=1e-5, atol=1e-7)


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["singleview", "import", *map(str, arguments)])
    return cli.main()


def test_the_command_keeps_every_bit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    net = scrambled(occupancy_network("points")).float()
    write_torch({"model": net.state_dict()}, tmp_path / "model.pt")
    out = tmp_path / "onet"
    assert command(monkeypatch, "onet", tmp_path / "model.pt", "--out", out) == 0
    model, about = load_model(out)
    assert isinstance(model, OccupancyNetwork)
    assert about["observations"]["cloud"] == 300
    assert torch.equal(model.decoder.first.weight, net.decoder.fc_p.weight[..., 0])
    field = scrambled(SignedDistance(6, 32)).float()
    source = experiment(tmp_path / "theirs", field, {"weight": torch.randn(3, 6)})
    assert command(monkeypatch, "deepsdf", source, "--out", tmp_path / "deepsdf") == 0
    again, about = load_model(tmp_path / "deepsdf")
    assert isinstance(again, AutoDecoder)
    assert about["frame"] == "ball"
    assert torch.equal(again.decoder.layers[8].weight, field.lin8.weight)
    assert torch.equal(again.decoder.codes, read_deepsdf(source).codes)


def test_a_folder_that_another_process_writes_to_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_torch({"model": occupancy_network("points").state_dict()}, tmp_path / "model.pt")
    out = tmp_path / "onet"
    with locked(out):
        assert command(monkeypatch, "onet", tmp_path / "model.pt", "--out", out) == 2
    assert "need a folder that no other process writes to" in capsys.readouterr().err
    assert list(out.iterdir()) == []
    assert command(monkeypatch, "onet", tmp_path / "model.pt", "--out", out) == 0
    assert [file.name for file in out.iterdir()] == ["model.safetensors"]


def test_what_is_not_known_is_refused(tmp_path: Path) -> None:
    file, weights = tmp_path / "model.pt", occupancy_network("points").state_dict()
    cases = {
        "'decoder.extra' is of a network": {**weights, "decoder.extra": torch.zeros(1)},
        "size mismatch": {k: x for k, x in weights.items() if k != "encoder.fc_c.bias"},
        "its encoder is not known": {"x": torch.zeros(1)},
        "NaN or infinity": {k: x * torch.nan if x.is_floating_point() else x
                            for k, x in weights.items()},
    }  # fmt: skip
    for said, state in cases.items():
        write_torch({"model": state}, file)
        with pytest.raises(InputError, match=f"model.pt: .*{said}"):
            read_onet(file, 0.2)
    file.write_bytes(b"no file of torch")
    with pytest.raises(InputError, match=r"model\.pt: need the weights of an Occupancy Network"):
        read_onet(file, 0.2)
    with pytest.raises(InputError, match="no such file"):
        read_onet(tmp_path / "none.pt", 0.2)


def test_objects_that_run_code_are_refused(tmp_path: Path) -> None:
    write_torch({"model": occupancy_network("none")}, tmp_path / "model.pt")  # a module itself
    with pytest.raises(InputError, match=r"model\.pt: need the weights"):
        read_onet(tmp_path / "model.pt", 0.2)


def test_other_networks_of_deepsdf_are_refused(tmp_path: Path) -> None:
    net, codes = SignedDistance(6, 32), torch.zeros(3, 6)
    for key, value in (("latent_in", [2]), ("use_tanh", True), ("dims", [32] * 7 + [8])):
        with pytest.raises(InputError, match=rf"specs\.json: {key}: need"):
            read_deepsdf(experiment(tmp_path, net, codes, **{key: value}))
    with pytest.raises(InputError, match="need codes of 6 numbers, got 5"):
        read_deepsdf(experiment(tmp_path, net, torch.zeros(3, 5)))
