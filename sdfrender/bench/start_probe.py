"""How long a new process takes to its first image and gradient. Run as a script, it prints JSON.

Nothing but the standard library is imported before the clock starts.
"""

import json
import sys
import time


def main(engine: str, threads: int) -> None:
    """Import, render one view of 256² of a sphere of 64³ with coverage, and differentiate it."""
    clock = [time.perf_counter()]
    import torch

    clock.append(time.perf_counter())
    import sdfrender

    clock.append(time.perf_counter())
    torch.set_num_threads(threads)
    values = sdfrender.Lattice.sphere(0.5).values.requires_grad_()
    lattice = sdfrender.Lattice(values, torch.tensor([[-1.0] * 3, [1.0] * 3]))
    cameras = sdfrender.Cameras.look_at([[0.0, 0.0, 3.2]])
    out = sdfrender.render(lattice, cameras, engine=engine)
    clock.append(time.perf_counter())
    (out.images.sum() + out.silhouettes.sum()).backward()  # type: ignore[no-untyped-call]
    clock.append(time.perf_counter())
    names = ("import_torch_s", "import_sdfrender_s", "first_image_s", "first_gradient_s")
    parts = zip(names, clock, clock[1:], strict=False)
    print(json.dumps({name: after - before for name, before, after in parts}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
