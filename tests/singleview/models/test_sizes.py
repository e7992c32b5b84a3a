"""Files that ask for more memory than they hold: refused by their sizes, before any is taken."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sdfrender import InputError
from sdfrender.files.tensors import need_file, need_fit, save_tensors
from sdfrender.latent.field import FORMAT as FIELD
from sdfrender.latent.field import FieldShape, LatentField
from sdfrender.view.cameras import Cameras
from singleview.data.layouts.folder import read_object
from singleview.data.samples_on_disk import read_shards
from singleview.models import AutoDecoder, OccupancyNetwork, Paper, Small
from singleview.models.occupancy import OccupancyShape
from singleview.training.checkpoint import FORMAT, load_model, save_model

MANY = 30_000
SMALL = {"size": "small", "channels": 1, "resolution": 8, "width": 8, "code": 3, "anchors": 2}
OCCUPANCY = {"model": "occupancy", "input": "points", "hidden": 8, "code": 4, "encoder": 4}


@pytest.mark.parametrize("key", ["code", "width", "layers"])
def test_a_field_is_not_built_larger_than_its_file(key: str, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    shape = {**asdict(FieldShape()), key: MANY}
    state = {"format": FIELD, "shape": shape, "names": [], "about": {}}
    save_tensors(file, {}, state)
    assert file.stat().st_size < 400
    for load in (LatentField.load, load_model):
        with pytest.raises(InputError, match=r"model\.safetensors: need .*a network (with|of)"):
            load(file)


@pytest.mark.parametrize("key", ["resolution", "width", "code", "anchors", "cameras", "channels"])
def test_nor_a_small_network(key: str, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_tensors(file, {}, {"format": FORMAT, "network": {**SMALL, key: MANY}, "about": {}})
    with pytest.raises(InputError, match=r"model\.safetensors: need .*a network with"):
        load_model(file)


@pytest.mark.parametrize("key", ["hidden", "blocks", "code", "encoder", "features"])
def test_nor_one_of_occupancy(key: str, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_tensors(file, {}, {"format": FORMAT, "network": {**OCCUPANCY, key: MANY}, "about": {}})
    with pytest.raises(InputError, match=r"model\.safetensors: need .*a network (with|of)"):
        load_model(file)


def test_nor_does_it_bring_images_to_any_size(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    network = {**OCCUPANCY, "input": "image", "image_size": MANY}
    save_tensors(file, {}, {"format": FORMAT, "network": network, "about": {}})
    with pytest.raises(InputError, match="image_size: need 16 to 2048 pixels"):
        load_model(file)


def test_the_paper_network_needs_its_weights(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_tensors(file, {}, {"format": FORMAT, "network": {"size": "paper", "channels": 1}})
    with pytest.raises(InputError, match="a network with decoder"):
        load_model(file)


@pytest.mark.parametrize(
    "model",
    [
        Small(3, 8, 8, 3, 2, 4),
        AutoDecoder(LatentField(FieldShape(3, 8, 4), ["a", "b"])),
        *(
            OccupancyNetwork(OccupancyShape(kind, 8, 1, 4, 8, image_size=64, objects=2))
            for kind in ("image", "points", "voxels", "none", "index")
        ),
    ],
    ids=lambda model: type(getattr(model, "encoder", model)).__name__,
)
def test_what_fits_is_read(model: nn.Module, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_model(file, model, {"category": "x"})  # type: ignore[arg-type]
    found, about = load_model(file)
    assert about == {"category": "x"}
    for name, x in found.state_dict().items():
        assert torch.equal(x, model.eval().state_dict()[name].half().to(x)), name


def test_a_network_of_the_paper_is_measured_without_its_memory() -> None:
    with torch.device("meta"):
        wanted = Paper().state_dict()
    assert sum(x.numel() for x in wanted.values()) > 100e6
    with pytest.raises(ValueError, match=r"a network with refine \(\), it is stored as None"):
        need_fit(Paper, {k: x for k, x in wanted.items() if k != "refine"})


def test_a_list_of_samples_that_asks_for_more_than_there_is(tmp_path: Path) -> None:
    file = tmp_path / "samples.json"
    three = torch.zeros(8, 3, dtype=torch.float16)
    bits = torch.from_numpy(np.packbits(np.ones(8, np.uint8)))
    arrays = {"points": three, "near": three, "surface": three, "normals": three}
    tensors = {**arrays, "inside": bits, "near_inside": bits.clone()}
    stored = {f"A/b/{k}": x.clone() for k, x in tensors.items()}
    save_tensors(tmp_path / "samples_000.safetensors", stored, {})
    manifest = {
        "format": "singleview.samples",
        "version": 1,
        "settings": {"points": 8, "near": 8, "surface": 8},
        "objects": [{"name": "A/b", "split": "train", "shard": 0}],
    }
    file.write_text(json.dumps(manifest))
    assert read_shards(tmp_path).inside.all()
    for key in ("points", "near"):
        for count in (12 << 30, 9, -1):
            settings = {"points": 8, "near": 8, "surface": 8, key: count}
            file.write_text(json.dumps({**manifest, "settings": settings}))
            with pytest.raises(InputError, match=rf"bits of {count} points"):
                read_shards(tmp_path)
            on_disk = getattr(read_shards(tmp_path, "disk"), "inside" if key == "points" else key)
            with pytest.raises(InputError, match=r"samples_000.* where .* are listed"):
                on_disk[0]
    settings = {"points": 8, "near": 7, "surface": 8}  # the bits of both are one byte
    file.write_text(json.dumps({**manifest, "settings": settings}))
    with pytest.raises(InputError, match=r"samples.json: need a list of samples that fits"):
        read_shards(tmp_path)


def test_weights_tell_how_they_were_trained(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    model = Small(3, 8, 8, 3, 2, 4)
    save_tensors(file, model.state_dict(), {"format": FORMAT, "network": model.description()})
    with pytest.raises(InputError, match=r"model.safetensors: need the weights .*'about'"):
        load_model(file)


def test_names_of_any_length_are_of_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        need_file(tmp_path / ("9" * 400), "weights")
    with pytest.raises(InputError, match="the object is not there"):
        read_object(tmp_path / ("9" * 400), Cameras.orbit(1, 3.0))


def test_shapes_stay_within_reason() -> None:
    with pytest.raises(ValueError, match="image_size"):
        replace(OccupancyShape("image"), image_size=8)
