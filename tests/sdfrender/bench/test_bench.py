"""`sdfrender bench` on tiny workloads: what it measures, and what it prints."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import trimesh

from sdfrender import Lattice, cli
from sdfrender.bench import measure, processes, scaling, workloads
from sdfrender.bench.candidates import TASKS, Candidate, Cotangents, Seen, Unavailable, engines
from sdfrender.bench.card import card_candidates
from sdfrender.bench.config import BenchConfig
from sdfrender.bench.peers import by_name as peers
from sdfrender.bench.peers import compiled_peer, mitsuba_peer
from sdfrender.bench.report import FLOORS, markdown, numbers_of, on_card, ratio
from sdfrender.bench.run import bench
from sdfrender.bench.workloads import WORKLOADS, BenchScene, Workload
from sdfrender.errors import InputError
from sdfrender.geometry.mesh_files import save_mesh
from sdfrender.rendering.render import ENGINES

TINY = Workload("tiny", 12, 2, 16)
ROW = {
    "candidate", "task", "forward_ms", "forward_min_ms", "forward_backward_ms",
    "forward_backward_min_ms", "mrays_per_s", "over", "forward_speedup", "speedup",
    "mask_mismatch", "depth_error_median", "depth_error_p99", "gradient_error",
}  # fmt: skip


@pytest.fixture(autouse=True)
def tiny_workload(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(WORKLOADS, "tiny", TINY)
    before = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == before


@pytest.fixture
def ball(tmp_path: Path) -> Path:
    path = tmp_path / "ball.ply"
    save_mesh(path, trimesh.creation.icosphere(subdivisions=2))
    return path


@pytest.fixture
def scene() -> BenchScene:
    return BenchScene(Lattice.sphere(0.6, resolution=12), workloads.place_cameras(TINY))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["sdfrender", "bench", *map(str, arguments)])
    return cli.main()


# ---------------------------------------------------------------------- workloads


def test_about_half_of_the_rays_hit_the_default_shape() -> None:
    mesh = workloads.fit_into_box(workloads.creature())
    assert mesh.is_watertight
    assert mesh.extents.max() == pytest.approx(1.7)
    small = workloads.make_scene(Workload("", 48, 26, 48), mesh)
    assert 0.35 < float(measure.exact_hits(small).float().mean()) < 0.55


def test_distances_are_exact_near_the_surface_and_close_elsewhere() -> None:
    mesh = trimesh.creation.torus(0.6, 0.2)
    made = workloads.lattice_near(mesh, 90)
    exact = Lattice.from_mesh(mesh, 90, workloads.BOX)
    near = exact.values.abs() < float(made.spacing[0])
    assert int(near.sum()) > 1000
    torch.testing.assert_close(made.values[near], exact.values[near], rtol=0, atol=1e-6)
    assert torch.equal(made.values < 0, exact.values < 0)
    # elsewhere interpolated between samples twice as far apart
    assert float((made.values - exact.values).abs().max()) < 2 * float(made.spacing[0])


def test_eight_views_are_spread_over_the_26() -> None:
    cameras = workloads.place_cameras(WORKLOADS["W3"])
    assert len(cameras) == 8
    assert cameras.width == cameras.height == 1024
    everything = workloads.place_cameras(Workload("", 8, 26, 8)).centers
    chosen = torch.cdist(cameras.centers, everything).argmin(1)
    assert chosen.tolist() == [0, 4, 7, 11, 14, 18, 21, 25]


# ---------------------------------------------------------------------- measuring


def test_every_engine_is_a_candidate() -> None:
    names = [candidate.name for candidate in [*engines(), *card_candidates()]]
    assert names[:2] == ["torch exact", "torch sphere"]
    assert {"auto", "reference", *names} == {*ENGINES, *names}
    assert len(set(names)) == len(names)


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a card")
def test_without_a_card_what_needs_one_is_named() -> None:
    config = BenchConfig(workloads=("tiny",), repeats=1, only=("cuda",), quick=True)
    (work,) = bench(config)["workloads"]
    assert work["rows"] == []
    reason = "torch sees no NVIDIA card here"
    assert work["unavailable"] == {"cuda, torch exact": reason, "cuda": reason}


def test_rows_on_a_card_are_compared_to_pytorch_there_and_to_its_floors() -> None:
    fine = measure.Agreement(0, 0, 0, 0)
    rows = [
        measure.Row("torch", "hits", True, [8.0], [8.0], fine),
        measure.Row("torch there", "hits", True, [2.0], [2.0], fine, "card"),
        measure.Row("cuda", "hits", False, [0.5], [0.5], fine, "card"),
    ]
    numbers = numbers_of(rows, 100)
    assert [row["over"] for row in numbers] == ["torch", "torch there", "torch there"]
    assert numbers[2]["speedup"] == 4
    numbers[2] |= {"bytes_floor_ms": 0.1, "operations_floor_ms": 0.2}
    assert on_card({"rows": numbers}) == [numbers[2]]
    assert markdown(FLOORS, [numbers[2]]).endswith("| cuda, hits | 500.00 | 500.00 | 0.10 | 0.20 |")


@pytest.mark.release
def test_the_exact_candidate_agrees_with_the_truth(scene: BenchScene) -> None:
    hits = measure.exact_hits(scene)
    exact, sphere = engines()[:2]
    turns: list[str] = []
    entries = [(exact, exact.tasks[0]), (exact, exact.tasks[1]), (sphere, sphere.tasks[0])]
    measured = measure.measure(scene, hits, entries, 3, turns.append)
    assert len(turns) == 4 * len(entries)
    for row in measured.rows[:2]:
        # the same in float32, which knows a position to 1e-5 voxels
        assert row.agreement.mask_mismatch == 0
        assert row.agreement.depth_error_p99 < 1e-4
        assert row.agreement.gradient_error < 1e-2
    assert 0 < measured.rows[2].agreement.depth_error_median < 0.01
    for row in measured.rows:
        assert len(row.forward) == len(row.forward_backward) == 3
        assert min(row.forward + row.forward_backward) > 0


def test_cotangents_are_zero_where_rays_miss(scene: BenchScene) -> None:
    hits = measure.exact_hits(scene)
    loss = Cotangents.random(hits)
    assert bool((loss.depths[~hits] == 0).all())
    assert bool((loss.normals[~hits] == 0).all())
    assert bool((loss.depths[hits] != 0).all())


def test_disagreement_is_measured() -> None:
    hits = torch.tensor([[[True, True], [False, True]]])
    depths = torch.tensor([[[1.0, 2.0], [torch.inf, 3.0]]])
    grid = BenchScene(Lattice.sphere(resolution=3), workloads.place_cameras(TINY))  # spacing 1
    exact = Seen(hits, depths, torch.tensor([3.0, 4.0]))
    other = Seen(hits.clone(), depths + 0.25, torch.tensor([3.0, 3.0]))
    other.hit_mask[0, 0, 0] = False
    agreement = measure.compare(other, exact, grid)
    assert agreement == measure.Agreement(0.25, 0.25, 0.25, 0.2)


def test_speedups_are_of_the_same_round() -> None:
    assert ratio([4.0, 40.0, 4.0], [2.0, 10.0, 4.0]) == 2
    same = measure.Agreement(0, 0, 0, 0)
    rows = [
        measure.Row("slow", "hits", True, [9.0], [9.0], same),
        measure.Row("fast", "hits", True, [5.0], [8.0], same),
        measure.Row("ours", "hits", False, [1.0], [2.0], same),
        measure.Row("ours", "coverage", False, [1.0], [2.0], same),
    ]
    numbers = numbers_of(rows, 10**6)
    assert [row["over"] for row in numbers] == ["fast", "fast", "fast", None]
    assert [row["speedup"] for row in numbers] == [8 / 9, 1, 4, None]
    assert numbers[2]["forward_speedup"] == 5
    assert numbers[2]["mrays_per_s"] == 0.5


def test_a_candidate_that_cannot_run_is_listed_with_its_reason(scene: BenchScene) -> None:
    def refuse(*_: object) -> Any:
        raise Unavailable("no such thing here")

    entries = [(Candidate("peer", ("hits",), refuse), TASKS[0])]
    measured = measure.measure(scene, measure.exact_hits(scene), entries, 1, lambda _: None)
    assert measured.rows == []
    assert measured.unavailable == {"peer": "no such thing here"}


# ---------------------------------------------------------------------- peers


def test_mitsuba_is_unavailable_where_it_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, scene: BenchScene
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Unavailable, match="pip install mitsuba"):
        mitsuba_peer.open_session(scene, "hits", no_cotangents())


def test_mitsuba_is_tried_in_a_process_of_its_own(
    monkeypatch: pytest.MonkeyPatch, scene: BenchScene
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setenv(mitsuba_peer.LIBRARY, "nothing.so")
    monkeypatch.setattr(mitsuba_peer, "TRIAL", "import os; os.abort()")
    with pytest.raises(Unavailable, match=r"LIBLLVM_PATH=nothing\.so: exit code -"):
        mitsuba_peer.open_session(scene, "hits", no_cotangents())


def test_a_compiler_that_fails_is_a_reason(
    monkeypatch: pytest.MonkeyPatch, scene: BenchScene
) -> None:
    def broken(*_: object, **__: object) -> Any:
        raise RuntimeError("no C++ compiler\nand a long trace")

    monkeypatch.setattr(torch, "compile", lambda function, **_: broken)
    with pytest.raises(Unavailable, match=r"no C\+\+ compiler$"):
        compiled_peer.open_session(scene, "hits", no_cotangents())


def test_the_steps_to_compile_are_those_of_the_tracer(
    monkeypatch: pytest.MonkeyPatch, scene: BenchScene
) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    hits = measure.exact_hits(scene)
    loss = Cotangents.random(hits)
    ours = compiled_peer.open_session(scene, "hits", loss).seen()
    eager = peers.by_name("torch sphere").open(scene, "hits", loss).seen()
    assert torch.equal(ours.hit_mask, eager.hit_mask)
    torch.testing.assert_close(ours.depths, eager.depths)


def no_cotangents() -> Cotangents:
    return Cotangents.random(torch.zeros(2, 16, 16, dtype=torch.bool))


# ---------------------------------------------------------------------- new processes


@pytest.mark.release
def test_memory_is_that_of_one_run(scene: BenchScene) -> None:
    hits = measure.exact_hits(scene)
    exact = peers.by_name("torch exact")
    memory = processes.measure_memory(scene, hits, exact, "hits", 1)
    assert 50 < memory.inputs_mb <= memory.peak_mb < 5000
    with pytest.raises(processes.ProbeError, match="StopIteration"):
        processes.measure_memory(scene, hits, exact, "no such task", 1)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_start_has_an_empty_cache_and_then_a_filled_one() -> None:
    starts = processes.measure_start("reference", 1)
    assert [start.cache for start in starts] == ["empty", "filled"]
    for start in starts:
        assert min(start.import_torch_s, start.import_sdfrender_s) > 0
        assert min(start.first_image_s, start.first_gradient_s) > 0


# ---------------------------------------------------------------------- the command


@pytest.mark.release
def test_json_has_every_number(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ball: Path
) -> None:
    start = processes.Start("reference", "empty", 1.0, 0.5, 0.25, 0.75)
    monkeypatch.setattr("sdfrender.bench.run.measure_start", lambda engine, threads: [start])
    memory = processes.Memory(200.0, 250.0)
    monkeypatch.setattr("sdfrender.bench.run.measure_memory", lambda *_: memory)
    options = ["--repeats", "2", "--threads", "1", "--only", "torch", "--mesh", ball, "--json"]
    assert run(monkeypatch, "--workloads", "tiny", *options) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {"machine", "mesh", "repeats", "workloads", "start"}
    assert document["machine"]["threads"] == 1
    assert {"cpu", "cores", "torch", "numba", "load_average"} < set(document["machine"])
    assert document["mesh"] == "ball.ply"
    (work,) = document["workloads"]
    assert work["rays"] == 512
    assert 0.3 < work["hit_fraction"] < 0.7
    assert [row["candidate"] for row in work["rows"]] == ["torch exact"] * 2 + ["torch sphere"]
    for row in work["rows"]:
        assert set(row) == ROW | {"inputs_mb", "peak_mb"}
    assert document["start"][0]["first_image_s"] == 0.25
    assert document["start"][0]["first_gradient_s"] == 0.75


@pytest.mark.release
@pytest.mark.parametrize("form", ["--markdown", None])
def test_tables(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], form: str | None
) -> None:
    monkeypatch.setattr("sdfrender.bench.run.peers", lambda: [absent])
    monkeypatch.setenv("COLUMNS", "100")
    absent = Candidate("torchless", ("hits",), mitsuba_peer.open_session)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    options = ["--repeats", "1", "--only", "torch", "--peers", "--quick", *filter(None, [form])]
    assert run(monkeypatch, "--workloads", "tiny", *options) == 0
    out = capsys.readouterr().out
    assert "tiny: 12³, 2 × 16²" in out
    for word in ("torch exact, coverage", "torch sphere, hits", "Mray/s", "gradient error"):
        assert word in out
    assert "torchless: not installed (pip install mitsuba)" in out
    assert ("| --- |" in out) == (form is not None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--workloads", "W9"], "--workloads: need some of W1, W2, W3, tiny, got 'W9'"),
        (["--repeats", "0"], "--repeats: need at least 1, got 0"),
        (["--threads", "0"], "--threads: need at least 1, got 0"),
        (["--only", "nobody"], "--only: need words of torch exact, torch sphere"),
        (["--mesh", "absent.obj"], "absent.obj: no such file"),
    ],
)
def test_bad_options_are_one_line_and_exit_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    words: str,
) -> None:
    assert run(monkeypatch, *options) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: ")
    assert told.err.count("\n") == 1
    assert words in told.err


def test_a_shape_without_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "point.ply"
    save_mesh(path, trimesh.Trimesh([[1, 1, 1]] * 3, [[0, 1, 2]], process=False))
    with pytest.raises(InputError, match="all its triangles are without area"):
        bench(BenchConfig(workloads=("tiny",), mesh=path))


def test_help_imports_none_of_it() -> None:
    code = (
        "import sys; from sdfrender import cli; "
        "print([m for m in sys.modules if m.startswith('sdfrender.bench.') and 'config' not in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_bar_counts_turns_that_have_ended() -> None:
    from sdfrender.bench.run import Progress

    steps: list[int] = []
    bar: Any = SimpleNamespace(set_description=lambda *_, **__: None, update=steps.append)
    progress = Progress(bar)
    for name in "abc":
        progress(name)
    assert sum(steps) == 2


# ---------------------------------------------------------------------- growth


def test_growth_is_told_for_a_doubling() -> None:
    assert scaling.growths((64, 128, 256), (1.0, 4.0, 32.0)) == [4.0, 8.0]
    assert scaling.growths((100, 400), (1.0, 16.0)) == pytest.approx([4.0])


@pytest.mark.parametrize("kind", scaling.KINDS)
def test_every_step_is_measured(kind: str) -> None:
    lattice = scaling.rippled(20, kind)
    assert bool((lattice.values < 0).any())
    for name, work in scaling.steps(lattice, 1).items():
        work()
        assert name
    document = {
        "machine": {"threads": 1}, "resolutions": [20, 40], "views": 4,
        "rows": [{"step": "redistance", "lattice": kind,
                  "seconds": [0.1, 0.42], "seconds_growth": [4.2],
                  "mb": [10.0, 81.0], "mb_growth": [8.1]}],
    }  # fmt: skip
    assert f"| redistance | {kind} | 0.1 / 0.42 | 4.2 | 10 / 81 | 8.1 |" in scaling.table(document)


def test_the_rippled_torus_is_the_same_either_way() -> None:
    dense, sparse = (scaling.rippled(40, kind) for kind in scaling.KINDS)
    torch.testing.assert_close(sparse.to_dense().values, dense.values, rtol=0, atol=1e-6)


@pytest.mark.parametrize("resolutions", [(8, 16), (32, 32), (64, 32), ()])
def test_resolutions_that_do_not_grow_are_refused(resolutions: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="--resolutions: need numbers of 16 or more"):
        scaling.scaling(resolutions, 1)


@pytest.mark.release
def test_scaling_prints_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--scaling", "--resolutions", "16", "24", "--threads", "1") == 0
    printed = capsys.readouterr().out
    assert "| step | lattice | s: 16³ / 24³ |" in printed
    assert "| linearize | dense |" in printed
    assert "| linearize | sparse |" in printed
