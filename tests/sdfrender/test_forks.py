"""Processes that are forked after a render: they render too, whatever threads stayed behind."""

import os
import subprocess
import sys

import pytest

RENDERS = """
import torch
from torch.utils.data import DataLoader, Dataset
from sdfrender import Cameras, Lattice, linearize, render

torch.set_num_threads(2)

def sums() -> list[float]:
    # large enough that torch shares all its work among threads
    ball = Lattice.sphere(0.5, resolution=48)
    values = ball.values.clone().requires_grad_()
    cube = Cameras.cube(width=40)
    c2w = cube.c2w.clone().requires_grad_()
    out = render(ball.with_values(values), Cameras(c2w, cube.Ks, 40, 40), background=0.25)
    (out.images.square().mean() + out.silhouettes.mean()).backward()
    again = linearize(ball, cube[:3]).vjp(torch.ones(3, 40, 40, 1))
    field = ball.redistance().gradient(torch.rand(40000, 3))
    assert field.isfinite().all()
    return [float(x.double().sum()) for x in (values.grad.abs(), c2w.grad.abs(), again)]

class Sums(Dataset):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor(sums())

here = torch.tensor(sums())
"""
FORK = """
import os, signal
child = os.fork()
if child == 0:
    signal.alarm(60)  # it must not outlive the test
    close = torch.allclose(torch.tensor(sums()), here, rtol=1e-4)
    os._exit(0 if close else 1)
assert os.waitpid(child, 0)[1] == 0
"""
LOADER = """
for found in DataLoader(Sums(), num_workers=2, batch_size=1, timeout=60):
    torch.testing.assert_close(found[0], here, rtol=1e-4, atol=0)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")
@pytest.mark.parametrize("then", [FORK, LOADER], ids=["fork", "DataLoader"])
def test_a_fork_renders_after_a_render(then: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    command = [sys.executable, "-c", f"{RENDERS}\n{then}\nprint('done', torch.get_num_threads())"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done 2\n"  # its parent keeps its threads
