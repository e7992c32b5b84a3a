"""Names of objects are those of files in the folder of their data set."""

from __future__ import annotations

from pathlib import Path

import pytest
from target import corpus

from sdfrender.errors import InputError
from singleview.data.layouts.folder import read_manifest


@pytest.mark.parametrize("name", ["../../private/1", "/etc/1", "chair/../../1"])
def test_objects_elsewhere_are_refused(name: str, tmp_path: Path) -> None:
    told = corpus("dataset_json").replace(b'"name": "chair/1"', f'"name": "{name}"'.encode())
    (tmp_path / "dataset.json").write_bytes(told)
    with pytest.raises(InputError, match=f"dataset.json: need names of files in its .*'{name}'"):
        read_manifest(tmp_path)
