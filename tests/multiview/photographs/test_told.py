"""`cameras.json` of a former `multiview cameras`: read where it is of the same photographs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from target import corpus

from multiview.commands.cameras import summary
from multiview.photographs.find import MODEL, found_before
from sdfrender.errors import InputError

TOLD: dict[str, Any] = json.loads(corpus("found_cameras"))
MADE_FROM = TOLD["made_from"]


def write(folder: Path, **changes: Any) -> Path:
    (folder / MODEL).mkdir(parents=True, exist_ok=True)
    (folder / MODEL / "images.bin").write_bytes(b"-")
    (folder / "cameras.json").write_text(json.dumps({**TOLD, **changes}))
    return folder


def test_what_was_found_is_told_again(tmp_path: Path) -> None:
    told = found_before(write(tmp_path), MADE_FROM)
    assert told == TOLD
    assert "2 of 3 pictures placed, 80 points, 0.41 pixels" in summary(told)


def test_a_result_of_others_or_none_is_not_taken(tmp_path: Path) -> None:
    assert found_before(tmp_path, MADE_FROM) is None
    assert found_before(write(tmp_path), {**MADE_FROM, "files": []}) is None
    assert found_before(write(tmp_path, refused="too few"), MADE_FROM) is None
    assert found_before(write(tmp_path, made_from=None), MADE_FROM) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"placed": None}, "'placed' that is no list of str: None"),
        ({"unplaced": [1]}, "'unplaced' that is no list"),
        ({"placed": ["../../a.jpg"]}, "a picture outside of the folder, '../../a.jpg'"),
        ({"unplaced": ["/etc/a.jpg"]}, "a picture outside of the folder"),
        ({"points": "many"}, "'points' needs a number"),
        ({"reprojection_px": None}, "'reprojection_px' needs a number"),
        ({"unit": "m"}, "need a JSON object"),
        ({"unit": {"kind": "scale bar"}}, "'length'"),
        ({"cameras": [{"size": [4]}]}, "the size of a camera"),
        ({"warnings": {}}, "'warnings' that is no list"),
    ],
)
def test_damage_is_told_with_the_file(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"{tmp_path}.*cameras.json: .*--again") as caught:
        found_before(write(tmp_path, **changes), MADE_FROM)
    assert said in str(caught.value)
