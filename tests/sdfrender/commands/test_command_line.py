"""`sdfrender compare` and `convert`, and how commands end."""

import json
import os
import platform
import runpy
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
import trimesh
from places import REFERENCE
from processes.forked import in_a_fork, needs_fork

import sdfrender
from sdfrender import cli
from sdfrender.commands.process import run_command
from sdfrender.errors import InputError
from sdfrender.geometry.lattice import Lattice
from sdfrender.geometry.mesh_files import load_mesh, save_mesh
from sdfrender.io.lattices import load_lattice, save_lattice


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """The command's exit code."""
    monkeypatch.setattr(sys, "argv", ["sdfrender", *map(str, arguments)])
    return cli.main()


@pytest.fixture
def ball(tmp_path: Path) -> Path:
    path = tmp_path / "ball.npz"
    save_lattice(path, Lattice.sphere(0.5, resolution=(20, 24, 28)))
    return path


@pytest.fixture
def cube(tmp_path: Path) -> Path:
    path = tmp_path / "cube.ply"
    save_mesh(path, trimesh.creation.box())
    return path


# ---------------------------------------------------------------------- convert


def test_convert_lattice_to_lattice_keeps_the_samples(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, ball: Path
) -> None:
    target = tmp_path / "ball.safetensors"
    assert run(monkeypatch, "convert", ball, target) == 0
    assert capsys.readouterr().out == f"wrote {target}\n"
    assert torch.equal(load_lattice(target).values, load_lattice(ball).values)


def test_convert_resamples_only_when_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ball: Path
) -> None:
    target = tmp_path / "fine.npz"
    assert run(monkeypatch, "convert", ball, target, "--resolution", "33") == 0
    assert load_lattice(target).resolution == (33, 33, 33)


def test_convert_lattice_to_mesh_to_lattice(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ball: Path
) -> None:
    glb, sdf = tmp_path / "ball.glb", tmp_path / "ball.sdf"
    assert run(monkeypatch, "convert", ball, glb, "--level", "0.1") == 0
    mesh = load_mesh(glb)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(4 / 3 * 3.14159 * 0.6**3, rel=0.02)
    assert run(monkeypatch, "convert", glb, sdf, "--resolution", "21", "--padding", "0.25") == 0
    again = load_lattice(sdf)
    assert again.resolution == (21, 21, 21)
    assert float(again.bounds[1, 0]) == pytest.approx(0.6 + 0.25 * 1.2, abs=0.01)
    centre = again.sample(torch.zeros(3))
    assert float(centre) == pytest.approx(-0.6, abs=0.02)


def test_convert_mesh_to_mesh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cube: Path) -> None:
    target = tmp_path / "cube.stl"
    assert run(monkeypatch, "convert", cube, target) == 0
    assert load_mesh(target).volume == pytest.approx(1)


def test_a_mesh_has_64_samples_by_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cube: Path
) -> None:
    assert run(monkeypatch, "convert", cube, tmp_path / "cube.npz") == 0
    assert load_lattice(tmp_path / "cube.npz").resolution == (64, 64, 64)


# ---------------------------------------------------------------------- compare


def test_compare_prints_the_group_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ball: Path, cube: Path
) -> None:
    def numbers(*arguments: str | Path) -> dict[str, float]:
        assert run(monkeypatch, "compare", *arguments, "--json", "--samples", "3000") == 0
        loaded: dict[str, float] = json.loads(capsys.readouterr().out)
        return loaded

    same = numbers(ball, ball)
    assert list(same) == REFERENCE
    assert same["chamfer_l1"] <= 1e-6
    assert same["volume_iou"] == 1
    # A ball of diameter 1 in a cube of side 1: π/6 of it.
    other = numbers(ball, cube)
    assert other["volume_iou"] == pytest.approx(0.5236, abs=0.03)
    assert numbers(ball, cube, "--seed", "1") != other
    assert numbers(ball, cube) == other


def test_compare_prints_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cube: Path
) -> None:
    assert run(monkeypatch, "compare", cube, cube, "--samples", "100") == 0
    out = capsys.readouterr().out
    assert "chamfer_l1" in out
    assert "volume_iou" in out
    assert "1.00000" in out


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["convert", "absent.npz", "out.ply"], "absent.npz: no such file"),
        (["convert", "ball.npz", "out.xyz"], "out.xyz: unknown extension '.xyz'"),
        (["convert", "ball.xyz", "out.ply"], "ball.xyz: unknown extension '.xyz'"),
        (["convert", "ball.npz", "nowhere/out.ply"], "folder 'nowhere' does not exist"),
        (["convert", "broken.npz", "out.ply"], "broken.npz: not a readable npz file"),
        (["convert", "empty.npz", "out.ply"], "empty.npz: lattice: no surface"),
        (["convert", "batch.npz", "out.ply"], "batch.npz: lattice: need a single one"),
        (["convert", "ball.npz", "out.sdf"], "out.sdf: .sdf needs one spacing"),
        (["convert", "ball.npz", "out.npz", "--resolution", "1"], "--resolution: need 2 to 1024"),
        (["convert", "ball.npz", "out.npz", "--resolution", "9999"], "--resolution: need 2 to"),
        (["convert", "cube.ply", "out.npz", "--padding", "nan"], "--padding: need 0 to 10"),
        (["compare", "ball.npz", "absent.obj"], "absent.obj: no such file"),
        (["compare", "empty.npz", "ball.npz"], "empty.npz: lattice: no surface"),
        (["compare", "ball.npz", "ball.npz", "--samples", "0"], "--samples: need at least 1"),
        (["compare", "ball.npz", "ball.npz", "--seed", "-1"], "--seed: need at least 0"),
    ],
)
def test_bad_input_is_one_line_exit_2_and_nothing_written(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    ball: Path,
    cube: Path,
    arguments: list[str],
    words: str,
) -> None:
    bounds = load_lattice(ball).bounds
    save_lattice(tmp_path / "empty.npz", Lattice(torch.ones(3, 3, 3), bounds))
    save_lattice(tmp_path / "batch.npz", Lattice(-torch.ones(2, 3, 3, 3), bounds))
    (tmp_path / "broken.npz").write_bytes(ball.read_bytes()[:100])
    before = sorted(tmp_path.iterdir())
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: ")
    assert told.err.count("\n") == 1
    assert words in told.err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "arguments", [[], ["melt"], ["convert", "a.npz"], ["compare", "a", "b", "--samples", "many"]]
)
def test_a_wrong_command_line_exits_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    try:
        code: object = run(monkeypatch, *arguments)
    except SystemExit as stop:  # tyro's
        code = stop.code
    assert code == 2
    assert "Traceback" not in capsys.readouterr().err


# ---------------------------------------------------------------------- how commands end


def test_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(error: BaseException) -> None:
        raise error

    assert run_command(lambda: None) == 0
    assert run_command(lambda: fail(InputError("x: rule"))) == 2
    assert run_command(lambda: fail(FileNotFoundError(2, "No such file", "x"))) == 2
    assert run_command(lambda: fail(KeyboardInterrupt())) == 130
    told = capsys.readouterr().err.splitlines()
    assert told == ["error: x: rule", "error: [Errno 2] No such file: 'x'", "interrupted"]
    with pytest.raises(ValueError, match="a bug"):
        run_command(lambda: fail(ValueError("a bug")))


def test_python_m_sdfrender_teaches_its_commands() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sdfrender", "--help"], capture_output=True, text=True, check=True
    )
    for command in cli.COMMANDS:
        assert command in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="pipes break otherwise there")
@pytest.mark.parametrize("args", [["--help"], ["render", "--help"]])
def test_nothing_is_said_when_the_reader_has_left(args: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "sdfrender", *args], stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    assert done.stderr == ""
    assert done.returncode == 141


def test_another_programs_broken_pipe_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    def write() -> None:
        raise BrokenPipeError(32, "Broken pipe", "encoder")

    with open(os.devnull, "w") as there, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", there)
        assert run_command(write) == 2
    assert "encoder" in capsys.readouterr().err


@needs_fork
@pytest.mark.parametrize("program", ["sdfrender", "multiview", "singleview"])
def test_the_version_tells_what_a_bug_report_needs(
    program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDFRENDER_COMPILE_ALONE", "1")
    monkeypatch.setattr(sys, "argv", [program, "--version"])
    done = in_a_fork(lambda: runpy.run_module(program, run_name="__main__"))
    assert done.code == 0, done.err
    told = dict(line.split(": ", 1) for line in done.out.splitlines())
    assert told["sdfrender"] == sdfrender.__version__
    for name in ("numpy", "torch", "numba"):
        assert told[name] == version(name)
    assert told["python"] == platform.python_version()
    assert told["system"] == platform.platform()
    assert int(told["threads"]) >= 1
    assert told["engines"] == "cpu, reference"
    assert told["devices"].split(", ")[0] == "cpu"
    assert told["SDFRENDER_COMPILE_ALONE"] == "1"


def test_the_version_is_the_packages() -> None:
    assert version("sdfrender") == sdfrender.__version__
