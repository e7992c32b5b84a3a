"""Training on a data set twice as large as memory, beside one that is held in memory.

Not collected by a plain `pytest`: run `pytest -s tests/benchmarks/test_streaming.py`, which writes
4 GB for the time of the test and prints the speeds. A process that may have 2 GB of data trains
from disk, with the files put out of the system's cache before; another without a limit trains on a
small set in memory. They take turns, and the faster turn of each counts.
"""

from __future__ import annotations

import csv
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sdfrender.files.tensors import save_tensors
from singleview.data.samples import HALF_PADDED_BOX
from singleview.data.samples_on_disk import FORMAT, MANIFEST, shard_file
from singleview.data.shards import PER_SHARD, begin_shards
from singleview.settings.choices import Split

LIMIT = 2 << 30  # bytes of data that the process may have
POINTS, NEAR, SURFACE = 100_000, 50_000, 50_000  # what `sample-points` writes by default
LARGE, SMALL = 2860, 80  # objects; 4.3 GB and 120 MB
STEPS, SKIPPED, TURNS = 60, 20, 2
LEAST = 0.9  # of the speed in memory
TRAIN = f"""
import sys
from pathlib import Path
from singleview.config import TrainConfig
from singleview.train import train
data, out, where = sys.argv[1:]
train(TrainConfig(Path(data), Path(out), model="occupancy", size="small", steps={STEPS},
                  evaluate_every=10**6, data=where), quiet=True)
"""
pytestmark = pytest.mark.timeout(3000)


def write_balls(folder: Path, count: int) -> Path:
    """Samples of ellipsoids, as `sample-points` writes them; each shard has the same shapes.

    `count` is a multiple of `PER_SHARD`.
    """
    splits: dict[str, Split] = {f"ball/{i:05d}": "val" if i < 2 else "train" for i in range(count)}
    settings = {"points": POINTS, "near": NEAR, "surface": SURFACE}
    begin_shards(folder / MANIFEST, FORMAT, settings, splits, PER_SHARD)
    tensors: dict[str, torch.Tensor] = {}
    rng = np.random.default_rng(0)
    for name in list(splits)[:PER_SHARD]:
        tensors |= {f"{name}/{key}": x for key, x in ball(rng).items()}
    save_tensors(shard_file(folder, 0), tensors, {"format": FORMAT})
    first = shard_file(folder, 0).read_bytes()
    end = 8 + int.from_bytes(first[:8], "little")  # of the head, which has the names
    for shard in range(1, count // PER_SHARD):
        head = first[:end]
        for i in range(PER_SHARD):
            head = head.replace(b"ball/%05d/" % i, b"ball/%05d|" % (shard * PER_SHARD + i))
        with shard_file(folder, shard).open("wb") as file:
            file.write(head.replace(b"|", b"/"))
            file.write(memoryview(first)[end:])
            os.fsync(file.fileno())
    return folder


def ball(rng: np.random.Generator) -> dict[str, torch.Tensor]:
    """The arrays of one ellipsoid with a longest side of 1.5."""
    axes = rng.uniform(0.3, 0.75, 3).astype(np.float32)
    axes[rng.integers(3)] = 0.75
    way = rng.standard_normal((SURFACE, 3), dtype=np.float32)
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    surface = way * axes
    uniform = rng.random((POINTS, 3), dtype=np.float32) * (2 * HALF_PADDED_BOX) - HALF_PADDED_BOX
    near = surface[:NEAR] + 0.05 * rng.standard_normal((NEAR, 3), dtype=np.float32)
    arrays = {
        "points": uniform.astype(np.float16),
        "inside": np.packbits(np.linalg.norm(uniform / axes, axis=1) < 1),
        "near": near.astype(np.float16),
        "near_inside": np.packbits(np.linalg.norm(near / axes, axis=1) < 1),
        "surface": surface.astype(np.float16),
        "normals": way.astype(np.float16),
    }
    return {key: torch.from_numpy(x) for key, x in arrays.items()}


def steps_a_second(data: Path, out: Path, where: str, limit: int | None) -> float:
    """How fast a training goes, without its beginning.

    Raises:
        CalledProcessError: it ended with an error, as when it wants more memory than it may have.
    """
    for file in data.glob("*.safetensors"):  # as if it had never been read
        descriptor = os.open(file, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    command = [sys.executable, "-c", TRAIN, str(data), str(out), where]

    def limited() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    subprocess.run(command, check=True, preexec_fn=limited, capture_output=True)
    with (out / "losses.csv").open(newline="") as opened:
        seconds = [float(row["seconds"]) for row in csv.DictReader(opened)]
    return (len(seconds) - SKIPPED) / (seconds[-1] - seconds[SKIPPED - 1])


def test_a_data_set_twice_as_large_as_memory_trains_as_fast(tmp_path: Path) -> None:
    large, small = write_balls(tmp_path / "large", LARGE), write_balls(tmp_path / "small", SMALL)
    size = sum(file.stat().st_size for file in large.iterdir())
    assert size > 2 * LIMIT
    with pytest.raises(subprocess.CalledProcessError):  # the limit is one
        steps_a_second(large, tmp_path / "refused", "memory", LIMIT)
    found: dict[str, list[float]] = {"memory": [], "disk": []}
    for turn in range(TURNS):
        found["memory"].append(steps_a_second(small, tmp_path / f"a{turn}", "memory", None))
        found["disk"].append(steps_a_second(large, tmp_path / f"b{turn}", "disk", LIMIT))
    memory, disk = max(found["memory"]), max(found["disk"])
    print(f"\n{size / 1e9:.1f} GB: {disk:.2f} steps a second from disk, {memory:.2f} from memory: "
          f"{disk / memory:.2f}")  # fmt: skip
    assert disk > LEAST * memory
