"""In a process of its own: scenes on a card that numba simulates, and what they show in a file.

`python simulated_card.py FILE NAME…`. numba is told to simulate by its environment, before it is
imported, and then nothing is compiled: so the tests' own process cannot do it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["NUMBA_ENABLE_CUDASIM"] = os.environ["NUMBA_DISABLE_JIT"] = "1"
sys.path.append(str(Path(__file__).parents[1] / "scenes"))

import card_scenes
from safetensors.torch import save_file


def main(file: str, *names: str) -> None:
    """Write the results of each scene: `scene/…`, `deterministic scene/…`, `linear scene/…`."""
    found = {}
    for name in names:
        scene = card_scenes.scene(name)
        results = {name: scene.results("cuda")} if name in card_scenes.NAMES else {}
        if name in card_scenes.DETERMINISTIC:
            results[f"deterministic {name}"] = scene.results("cuda", deterministic=True)
        if name in card_scenes.LINEAR:
            results[f"linear {name}"] = scene.products("cuda")
        for title, fields in results.items():
            found |= {f"{title}/{key}": x.contiguous() for key, x in fields.items()}
    found["not finite/values"] = card_scenes.scene("two samples").not_finite("cuda")
    save_file(found, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
