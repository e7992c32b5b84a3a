"""The command `singleview evaluate-completion`."""

from __future__ import annotations

import json
from typing import Annotated

import tyro

from sdfrender.errors import InputError
from sdfrender.options import AsJson, Flag
from singleview.settings.evaluation import CompletionStudy


def command(
    config: Annotated[CompletionStudy, tyro.conf.arg(name="")],
    as_json: AsJson = False,
    markdown: Flag = False,
) -> None:
    """Measure completions of meshes from one depth image of each, also under noise.

    Beside them: the nearest mesh that the network knows, and the hull of the silhouette. DIR gets
    completion.json, completion.md, noise.png and shapes.png: the depth image, the completion, the
    truth.

    Example: singleview evaluate-completion meshes --model runs/chairs --out study

    Args:
        config: the options.
        as_json: Print JSON, with every object's numbers.
        markdown: Print Markdown tables.
    """
    from singleview.evaluate.completion import evaluate_completion, markdown_of, terminal

    if as_json and markdown:
        raise InputError("--json, --markdown: need one of them, got both")
    result = evaluate_completion(config)
    if as_json:
        print(json.dumps(result, indent=2))
    elif markdown:
        print(markdown_of(result), end="")
    else:
        from rich.console import Console

        Console().print(*terminal(result))
        print(f"wrote {config.out}; look at shapes.png and noise.png in it")
