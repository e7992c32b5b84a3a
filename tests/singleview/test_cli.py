"""The command `singleview` from training to prediction, and how it ends."""

import io
import json
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from tiny_training import write_dataset

from sdfrender.files.formats.pngs import write_png
from sdfrender.io.lattices import load_lattice
from singleview import cli


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["singleview", *map(str, arguments)])
    return cli.main()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("cli") / "dataset")


@pytest.fixture(scope="module")
def trained(dataset: Path) -> tuple[Path, str]:
    """A run folder, and what the command printed."""
    out = dataset.parent / "run"
    options = ["--steps=2", "--batch=2", "--resolution=12", "--augment=flip", "--json"]
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as printed:
        assert run(patch, "train", dataset, "--out", out, *options) == 0
    return out, printed.getvalue()


@pytest.mark.slow
def test_training_prints_its_metrics(trained: tuple[Path, str]) -> None:
    out, printed = trained
    assert json.loads(printed) == json.loads((out / "metrics.json").read_text())
    assert json.loads(printed)["steps"] == 2
    assert "Judged on" in (out / "report.html").read_text()


@pytest.mark.slow
def test_a_network_and_the_baselines_share_a_table(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    dataset: Path,
    trained: tuple[Path, str],
) -> None:
    out, printed = trained
    common = ["evaluate", dataset, out, out / "model.safetensors", "--split=val", "--samples=100"]
    assert run(monkeypatch, *common, "--baselines", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert [m["name"] for m in result["methods"][6:]] == [
        "nearest neighbour by image, refined as run",
        "nearest neighbour by image, refined as run/model.safetensors",
    ]
    network, file = result["methods"][:2]
    assert (network["name"], file["name"]) == ("run", "run/model.safetensors")
    assert network["iou_32"] == file["iou_32"]
    # Validation during training measures the same thing without refining, to samples within
    # rounding of 0.
    assert run(monkeypatch, *common, "--baselines", "--no-refine", "--json") == 0
    methods = json.loads(capsys.readouterr().out)["methods"]
    assert len(methods) == 2 + 4
    network = methods[0]
    assert (network["told"], result["methods"][0]["told"]) == ("", "the rig and its light")
    validation = json.loads(printed)["validation"]
    assert network["iou_32"] == pytest.approx(validation["iou_32"], abs=1e-4)
    assert network["iou_64"] == pytest.approx(validation["iou_64"], abs=1e-4)


def test_a_picture_becomes_a_shape(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    trained: tuple[Path, str],
) -> None:
    picture = np.zeros((40, 40, 4), np.uint8)
    picture[10:30, 8:32] = 255
    write_png(tmp_path / "mug.png", picture)
    options = ["--model", trained[0], "--out", tmp_path / "out", "--frames=3", "--size=32"]
    code = run(monkeypatch, "predict", tmp_path / "mug.png", *options, "--json")
    printed = capsys.readouterr()
    if code == 2:  # two steps of training may leave nothing to see
        assert "the network sees no object in it" in printed.err
        return
    assert json.loads(printed.out) == [str(tmp_path / "out" / "mug")]
    load_lattice(tmp_path / "out" / "mug" / "lattice.safetensors")


def test_only_the_first_process_speaks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], dataset: Path
) -> None:
    from singleview import train
    from singleview.training.distributed import ProcessLost

    metrics = {"steps": 1, "seconds": 2.0, "validation": {"iou_32": 0.5, "step": 1}}
    monkeypatch.setattr(train, "train", lambda config: metrics)
    monkeypatch.setattr("singleview.report.page.write_report", lambda *_, **__: None)
    arguments = ("train", dataset, "--out", "somewhere")
    assert run(monkeypatch, *arguments) == 0
    assert "1 steps in 2 s; validation: iou_32 0.500" in capsys.readouterr().out
    monkeypatch.setenv("RANK", "1")
    assert run(monkeypatch, *arguments) == 0
    assert capsys.readouterr().out == ""

    def lose(config: object) -> None:
        raise ProcessLost("process 1 of 2: another process has ended")

    monkeypatch.setattr(train, "train", lose)
    with pytest.raises(SystemExit, match="1"):
        run(monkeypatch, *arguments)
    assert capsys.readouterr().err == "error: process 1 of 2: another process has ended\n"


def test_weights_that_are_not_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], dataset: Path
) -> None:
    assert run(monkeypatch, "evaluate", dataset, "nowhere") == 2
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_the_help_teaches(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, command, "--help")
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert f"Example: singleview {command}" in " ".join(text.split())


def test_help_and_settings_need_no_numerics() -> None:
    code = """if True:
        import contextlib, io, sys
        import singleview.config
        from singleview import cli
        for command in cli.COMMANDS:
            sys.argv = ["singleview", command, "--help"]
            with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
                cli.main()
        numerics = {"torch", "numpy", "scipy", "numba", "trimesh", "igl", "skimage", "matplotlib"}
        print(sorted(numerics & set(sys.modules)), len(cli.COMMANDS))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"[] {len(cli.COMMANDS)}\n", done.stderr


def test_an_option_out_of_range_is_told_in_the_words_of_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for arguments, option in (
        (["train", "data", "--out", out, "--learning-rate=2"], "--learning-rate"),
        (["predict", "mug.png", "--out", out, "--frames=1"], "--frames"),
        (["complete", "a.npz", "--model", "m", "--out", out, "--free-weight=-1"], "--free-weight"),
        (["interpolate", "a", "b", "--model", "m", "--elevation-deg=90"], "--elevation-deg"),
        (["render-dataset", "meshes", "--out", out, "--supersampling=4"], "--supersampling"),
        (["sample-points", "meshes", "--out", out, "--warped=3"], "--warped"),
        (["evaluate", "data", "--surface-views=0"], "--surface-views"),
        (["evaluate-completion", "m", "--model", "m", "--out", out, "--noise", "-1"], "--noise"),
    ):
        assert run(monkeypatch, *arguments) == 2
        assert capsys.readouterr().err.startswith(f"error: {option}: need ")
    assert not out.exists()
