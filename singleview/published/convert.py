"""The command `singleview import`: from the authors' files to ours."""

from __future__ import annotations

from pathlib import Path

from sdfrender.files.run_files import held, need_vacant
from singleview.models import AutoDecoder, Model
from singleview.published.deepsdf import read_deepsdf
from singleview.published.onet import read_onet
from singleview.settings.published import ImportConfig
from singleview.training.checkpoint import save_model


def convert(config: ImportConfig) -> Path:
    """Read `config.source` and write `config.out/model.safetensors`, in full precision.

    Returns:
        The file that was written.

    Raises:
        InputError: a source that cannot be used, or a folder that holds a run or that another
            process writes to.
    """
    need_vacant(config.out)
    if config.kind == "onet":
        model: Model
        model, about = read_onet(config.source, config.threshold)
    else:
        field = read_deepsdf(config.source, config.checkpoint)
        model, about = AutoDecoder(field), field.about
    file = config.out / "model.safetensors"
    with held(config.out, resume=False):
        save_model(file, model, about, exact=True)
    return file
