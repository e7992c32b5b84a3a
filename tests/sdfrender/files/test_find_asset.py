"""What comes with the project is found in a checkout, and inside a package that is installed."""

import sys
from pathlib import Path

import pytest

from multiview.commands.demo import demo_scene
from sdfrender.errors import InputError
from sdfrender.files.assets import find_asset
from singleview.predict.predict import DEMO_WEIGHTS

ROOT = Path(__file__).parents[3]


def test_both_demos_are_found() -> None:
    assert demo_scene().samefile(ROOT / "assets" / "demo")
    assert find_asset(*DEMO_WEIGHTS).samefile(ROOT / "assets" / "singleview" / "model.safetensors")


def test_inside_the_package_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "an_installed_package"
    home.mkdir()
    (home / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"assets.*thing.*it is not there"):
        find_asset(home.name, "thing")
    (tmp_path / "assets" / "thing").mkdir(parents=True)
    assert find_asset(home.name, "thing") == tmp_path / "assets" / "thing"
    (home / "assets").mkdir()
    (home / "assets" / "thing").write_text("")
    assert find_asset(home.name, "thing") == home / "assets" / "thing"
    del sys.modules[home.name]
