"""Before the first step: shapes from images, and objects made up out of them, kept on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from sdfrender import InputError
from sdfrender.files.tensors import load_tensors, save_tensors
from singleview.augment.augment import MADE, made_up_dataset, make_up_group, view_groups
from singleview.augment.symmetry import side_axes
from singleview.data.dataset import Dataset
from singleview.run_folder import RunFolder
from singleview.settings.training import TrainConfig
from singleview.training.batches import Sampler
from singleview.training.distributed import Job
from singleview.training.fitting import FitRecipe, fit_lattice
from singleview.training.validate import resampled

SHAPE_RESOLUTION = 48  # of the lattices that are deformed


def check_dataset(config: TrainConfig, dataset: Dataset) -> None:
    """Refuse what cannot be trained on, before any work is done.

    Raises:
        InputError: too few views, made-up objects without what they need, 3D supervision
            without 3D data, or the paper's loss without a known light.
    """
    train = dataset.split("train")
    if config.views > train.views:
        raise InputError(f"--views: need at most the dataset's {train.views}, got {config.views}")
    if config.supervision == "shape" and train.values is None:
        raise InputError(f"--supervision: {config.dataset} has no true lattices to learn from")
    if config.chosen_recipe == "paper" and config.supervision == "images" and not train.lighting:
        raise InputError(
            f"--recipe: the paper's compares images, {config.dataset} does not tell its light: "
            "use ours"
        )
    if config.augment == "made-up" and not can_make_up(train):
        raise InputError(
            f"--augment: made-up needs one set of cameras and a known light, {config.dataset} "
            "lacks them: use flip"
        )
    empty = (train.silhouettes.flatten(2).amax((1, 2)) == 0).nonzero()
    if len(empty):
        raise InputError(f"{config.dataset}: {train.names[int(empty[0])]} has only empty masks")


def can_make_up(dataset: Dataset) -> bool:
    """Whether objects of a dataset can be photographed anew: cameras and light are known."""
    return dataset.shared_cameras is not None and dataset.lighting is not None


def makes_up(config: TrainConfig, dataset: Dataset) -> bool:
    """Whether a training makes up objects."""
    return config.chosen_augment == "made-up" and can_make_up(dataset)


def fits_shapes(config: TrainConfig) -> bool:
    """Whether a training with image supervision begins with a shape of each object."""
    return config.chosen_augment in ("made-up", "fitted")


def prepare(config: TrainConfig, sampler: Sampler, run: RunFolder, job: Job, quiet: bool) -> None:
    """Give the sampler shapes to compare with and made-up objects to learn from.

    The processes of a job share the work, and each reads what the others have written.
    """
    dataset = sampler.real
    if config.supervision == "shape":
        assert dataset.values is not None
        shapes = dataset.values.float()
    elif fits_shapes(config):
        shapes = fitted_shapes(dataset, config.seed, run, job, quiet)
    else:
        return
    sampler.use_shapes = True
    dataset = replace(dataset, sides=side_axes(dataset.categories, shapes < 0))
    sampler.real = replace(dataset, values=resampled(shapes, config.resolution).half())
    if makes_up(config, dataset):
        shapes = resampled(shapes, SHAPE_RESOLUTION)
        sampler.made_up = made_up_objects(config, dataset, shapes, run, job, quiet)


def fitted_shapes(dataset: Dataset, seed: int, run: RunFolder, job: Job, quiet: bool) -> Tensor:
    """`[N, R, R, R]` a lattice of each object, fitted to its images or read from the run."""
    folder = run.path / "shapes"
    mine = range(job.rank, len(dataset), job.size)
    for i in tqdm(mine, desc="shapes from images", unit="object", disable=quiet):
        file = folder / f"{i:04d}.safetensors"
        if not file.exists():
            generator = torch.Generator().manual_seed(seed * 1_000_003 + i)
            views = dataset[i].views
            values = fit_lattice(views, dataset.lighting, dataset.bounds, FitRecipe(), generator)
            save_tensors(file, {"values": values.half()}, {"name": dataset.names[i]})
    job.wait()
    files = [folder / f"{i:04d}.safetensors" for i in range(len(dataset))]
    return torch.stack([_read(file, ("values",))[0] for file in files]).float()


def made_up_objects(
    config: TrainConfig, dataset: Dataset, shapes: Tensor, run: RunFolder, job: Job, quiet: bool
) -> list[Dataset]:
    """Datasets of objects made up out of the training shapes, or those the run made before.

    Args:
        config: how many, and the seed.
        dataset: N training objects.
        shapes: `[N, R, R, R]` distances over [-1, 1]³, canonical units.
        run: whose folder keeps them.
        job: this process, which makes its share.
        quiet: no progress bar.
    """
    folder = run.path / "made_up"
    groups = view_groups(dataset.views, torch.Generator().manual_seed(config.seed))
    count = max(1, round(config.made_up / len(groups)))
    mine = range(job.rank, len(groups), job.size)
    for n in tqdm(mine, desc="making up objects", unit=f"{count} objects", disable=quiet):
        file = folder / f"{n:04d}.safetensors"
        if not file.exists():
            generator = torch.Generator().manual_seed(config.seed * 1_000_003 + n)
            made = make_up_group(dataset, shapes, groups[n], count, config.resolution, generator)
            save_tensors(file, made, {"views": groups[n]})
    job.wait()
    read = [_read(folder / f"{n:04d}.safetensors", MADE) for n in range(len(groups))]
    return [
        made_up_dataset(dataset, dict(zip(MADE, made, strict=True)), views)
        for views, made in zip(groups, read, strict=True)
    ]


def _read(file: Path, names: tuple[str, ...]) -> list[Tensor]:
    """The named tensors of a file that this run wrote.

    Raises:
        InputError: damaged, or without one of them.
    """
    tensors, _ = load_tensors(file, "what this run has prepared")
    missing = sorted(set(names) - set(tensors))
    if missing:
        raise InputError(f"{file}: need the tensor {missing[0]!r} (delete the file to remake it)")
    return [tensors[name] for name in names]
