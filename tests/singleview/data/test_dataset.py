"""The dataset in memory: items, batches, splits, sizes."""

import pytest
import torch
from singleview_tiny import RESOLUTION, SIZE, VIEWS, tiny_dataset

from sdfrender import Lattice, render
from sdfrender.errors import InputError
from singleview.data.dataset import Dataset
from singleview.data.resize import resized


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return tiny_dataset()


def with_own_cameras(dataset: Dataset) -> Dataset:
    """The same, with cameras stored per object."""
    N = len(dataset)
    return Dataset(
        dataset.names,
        dataset.splits,
        dataset.images,
        dataset.silhouettes,
        dataset.c2w.repeat(N, 1, 1, 1),
        dataset.Ks.repeat(N, 1, 1, 1),
    )


def test_an_item_is_one_object(dataset: Dataset) -> None:
    item = dataset[1]
    assert (item.name, item.category) == ("box/1", "box")
    assert item.views.images.shape == (VIEWS, SIZE, SIZE, 1)
    assert item.views.silhouettes.shape == (VIEWS, SIZE, SIZE)
    assert item.views.images.dtype == item.views.silhouettes.dtype == torch.float32
    assert item.values is not None
    assert item.values.shape == (RESOLUTION,) * 3
    # What it shows is what its true shape looks like from its cameras under the stated light.
    seen = render(Lattice(item.values, dataset.bounds), item.views.cameras,
                  lighting=dataset.lighting)  # fmt: skip
    torch.testing.assert_close(seen.images, item.views.images, atol=0.02, rtol=0)


def test_the_splits_have_their_objects(dataset: Dataset) -> None:
    assert dataset.split("test").names == ("box/3",)
    assert dataset.split("val").names == ("box/2",)
    assert dataset.split("train").categories == ("box", "box", "capsule", "capsule")
    assert torch.equal(dataset.split("test").images[0], dataset.images[3])
    with pytest.raises(InputError, match="no object is in the split 'val'"):
        dataset.split("train").split("val")
    with pytest.raises(InputError, match="need one of train, val, test"):
        dataset.split("all")  # type: ignore[arg-type]


@pytest.mark.parametrize("own", [False, True])
def test_a_batch_is_the_chosen_views(dataset: Dataset, own: bool) -> None:
    source = with_own_cameras(dataset) if own else dataset
    batch = source.batch([2, 0], [[3, 1], [0, 2]])
    assert batch.images.shape == (2, 2, SIZE, SIZE, 1)
    assert batch.shared_cameras is None
    for b, (i, views) in enumerate(((2, [3, 1]), (0, [0, 2]))):
        item = source[i]
        assert torch.equal(batch.images[b], item.views.images[views])
        assert torch.equal(batch.silhouettes[b], item.views.silhouettes[views])
        assert torch.equal(batch.cameras[2 * b : 2 * b + 2].c2w, item.views.cameras[views].c2w)


def test_equal_views_of_shared_cameras_render_in_one_call(dataset: Dataset) -> None:
    batch = dataset.batch([0, 1, 4], [[2, 0]])
    assert batch.shared_cameras is not None
    assert torch.equal(batch.shared_cameras.c2w, dataset.cameras(0)[[2, 0]].c2w)
    assert dataset.values is not None
    lattices = Lattice(dataset.values[[0, 1, 4]].float(), dataset.bounds)
    seen = render(lattices, batch.shared_cameras, lighting=dataset.lighting)
    torch.testing.assert_close(seen.images, batch.images, atol=0.02, rtol=0)
    own = with_own_cameras(dataset)
    assert own.shared_cameras is None
    assert own.batch([0, 1], [[2, 0]]).shared_cameras is None


def test_a_batch_refuses_lists_that_do_not_fit(dataset: Dataset) -> None:
    for views in ([[0], [1], [2]], [[0], [1, 2]]):
        with pytest.raises(ValueError, match="views: need 2 lists of one length"):
            dataset.batch([0, 1], views)


def test_smaller_images_show_the_same(dataset: Dataset) -> None:
    small = resized(dataset, 8)
    assert small.image_size == (8, 8)
    assert small.shared_cameras is not None
    full = dataset.silhouettes.float().reshape(6, VIEWS, 8, 2, 8, 2).mean((3, 5))
    torch.testing.assert_close(small.silhouettes.float(), full, atol=0.51, rtol=0)
    points = torch.tensor([[0.3, -0.2, 0.5]])
    for i in range(VIEWS):
        uv, there = (x.cameras(0)[i].project(points)[0] for x in (small, dataset))
        torch.testing.assert_close(uv, there / 2)
    assert resized(dataset, SIZE) is dataset
    with pytest.raises(InputError, match="need at most the stored 16×16"):
        resized(dataset, 32)


def test_tensors_that_do_not_belong_together_are_refused(dataset: Dataset) -> None:
    parts = (dataset.names, dataset.splits, dataset.images, dataset.silhouettes)
    with pytest.raises(ValueError, match="silhouettes need shape"):
        Dataset(*parts[:3], dataset.silhouettes[:, :2], dataset.c2w, dataset.Ks)
    with pytest.raises(ValueError, match="c2w need shape"):
        Dataset(*parts, dataset.c2w[:, :2], dataset.Ks[:, :2])
    with pytest.raises(InputError, match="at least one object"):
        Dataset((), (), dataset.images[:0], dataset.silhouettes[:0], dataset.c2w, dataset.Ks)
