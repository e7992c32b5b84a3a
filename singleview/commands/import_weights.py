"""The command `singleview import`."""

from __future__ import annotations

from typing import Annotated

import tyro

from singleview.settings.published import ImportConfig


def command(config: Annotated[ImportConfig, tyro.conf.arg(name="")]) -> None:
    """Read weights that the authors of a paper published, and write them as ours.

    Nothing in their files is run. All tensors have to be known: a network that differs is refused.
    predict takes the folder that is written as --model.

    Example: singleview import onet onet_img2mesh.pt --out runs/onet

    singleview import deepsdf experiments/chairs --out runs/chairs

    Args:
        config: the options.
    """
    from singleview.published.convert import convert

    print(f"wrote {convert(config)}")
