"""What may import what, and what no file may contain."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from imports import (
    PACKAGES,
    Graph,
    cycle,
    dotted,
    home,
    imported_names,
    imported_packages,
    imports,
    module_graph,
    module_name,
    room,
    room_graph,
    sources,
    tree,
)
from places import ROOT
from processes.fresh import fresh, public_names

# The maths: geometry in, image and derivatives out.
CORE = ("geometry", "view", "kernels", "engines", "rendering", "latent")
NOT_IN_CORE = {"matplotlib", "tyro", "tqdm", "rich", "imageio", "argparse"}
# Settings are read before anything is computed: `--help` waits for no library of numbers.
NUMERICS = ("torch", "numba", "numpy", "scipy", "skimage", "trimesh", "igl")
MOST_MODULES = 15  # of a folder: what one `ls` can show
# Rooms that import each other for now, and why; a line that is no longer true fails.
KNOWN_CYCLES: dict[tuple[str, str], str] = {}
# Modules that reach past the doors of `sdfrender` for now, and why.
KNOWN_ENGINE_USERS: dict[str, str] = {}
PROMISED_MODULES = {"metrics", "primitives"}  # the public names of `sdfrender` that are modules
# Pickles run code when they are read.
UNSAFE = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
SUSPECT = re.compile("|".join((*UNSAFE, r"\.load\b", r"\.save\b", r"\beval\b", r"\bexec\b")))
TEXT = {
    ".py",
    ".toml",
    ".md",
    ".txt",
    ".json",
    ".yml",
    ".yaml",
    ".cfg",
    ".cff",
    ".sh",
    ".html",
    ".csv",
}


def calls(path: Path) -> dict[str, list[ast.Call]]:
    """All calls of functions by their names in a file, by these names as they are written."""
    found: dict[str, list[ast.Call]] = {}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            found.setdefault(dotted(node.func), []).append(node)
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_down_only(package: str) -> None:
    forbidden = {*PACKAGES, "tests"} - {"sdfrender", package}
    for path in sources(package):
        found = imported_packages(path) & forbidden
        assert not found, f"{path.relative_to(ROOT)} imports {found}"


def test_no_module_imports_one_that_imports_it() -> None:
    graph = module_graph()
    assert len(graph) > 150
    assert not cycle(graph)


def test_no_room_imports_one_that_imports_it() -> None:
    rooms = room_graph(module_graph())
    assert len(rooms) > 40
    for (upper, lower), reason in KNOWN_CYCLES.items():
        assert lower in rooms[upper], f"take it out of the known ones: {reason}"
        rooms[upper].remove(lower)
    assert not cycle(rooms)


@pytest.mark.parametrize("package", ["multiview", "singleview"])
def test_engines_are_reached_by_the_doors_of_the_renderer_only(package: str) -> None:
    found = {
        module
        for module, imported in module_graph().items()
        if module.startswith(package) and any(room(n) == "sdfrender.engines" for n in imported)
    }
    assert found == {module for module in KNOWN_ENGINE_USERS if module.startswith(package)}


def test_kernels_need_numbers_only() -> None:
    for path in sources("sdfrender/kernels"):
        ours = {room(n) for n in imported_names(path) if n.startswith("sdfrender.")}
        assert ours <= {"sdfrender.kernels", "sdfrender.errors", "sdfrender.system"}, (
            path.relative_to(ROOT)
        )


@pytest.mark.parametrize("room", CORE)
def test_the_maths_knows_no_command_line_and_no_plots(room: str) -> None:
    core = sources(f"sdfrender/{room}")
    assert len(core) >= 3
    for path in core:
        found = imported_packages(path) & NOT_IN_CORE
        assert not found, f"{path.relative_to(ROOT)} imports {found}"


def test_the_ray_tracer_shares_no_code_with_the_renderer() -> None:
    assert module_graph()["sdfrender.rendering.raytrace"] == {
        "sdfrender.view.cameras",
        "sdfrender.view.lighting",
    }


@pytest.mark.parametrize(
    "module",
    [
        "multiview.config",
        "multiview.recipes",
        "singleview.config",
        "sdfrender.bench.config",
    ],
)
def test_settings_load_no_numerics(module: str) -> None:
    code = f"import sys, {module}; print(*sorted(sys.modules))"
    loaded = run_python(code).split()
    assert module in loaded
    assert not set(NUMERICS) & set(loaded)


@pytest.mark.parametrize("folder", [*PACKAGES, "tests"])
def test_no_folder_has_more_modules_than_one_can_look_through(folder: str) -> None:
    modules: dict[Path, int] = {}
    for path in sources(folder):
        modules[path.parent] = modules.get(path.parent, 0) + (path.name != "__init__.py")
    assert len(modules) > 5
    for where, count in modules.items():
        assert count <= MOST_MODULES, f"{where.relative_to(ROOT)} has {count} modules"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_says_what_lives_there(package: str) -> None:
    for where in {path.parent for path in sources(package)}:
        first = where / "__init__.py"
        assert first.exists(), f"{where.relative_to(ROOT)} is no package"
        text = ast.get_docstring(tree(first))
        assert text, f"{first.relative_to(ROOT)} does not say what lives there"


def has_public_names(path: Path) -> bool:
    """Looked for in the text first: most files are not parsed while tests are collected."""
    return "__all__" in path.read_text(encoding="utf-8") and any(
        isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        for node in tree(path).body
    )


MODULES_WITH_PUBLIC_NAMES = [module_name(p) for p in sources(*PACKAGES) if has_public_names(p)]


def test_some_modules_have_public_names() -> None:
    assert "sdfrender" in MODULES_WITH_PUBLIC_NAMES


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")
@pytest.mark.parametrize("module", MODULES_WITH_PUBLIC_NAMES)
def test_public_names_mean_the_same_however_often_and_in_whichever_order(module: str) -> None:
    told = [
        {name: re.sub("0x[0-9a-f]+", "", text) for name, _, text, _ in found}
        for found in (names_read_twice(module, backwards) for backwards in (False, True))
    ]
    assert told[0]
    assert told[0] == told[1]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")
@pytest.mark.parametrize("everything_first", [False, True])
@pytest.mark.parametrize("backwards", [False, True])
def test_public_names_mean_the_same_whatever_was_imported_before(
    backwards: bool, everything_first: bool
) -> None:
    found = names_read_twice("sdfrender", backwards, everything_first)
    modules = {name for name, kind, _, _ in found if kind == "module"}
    assert len(found) > len(modules)
    assert modules == PROMISED_MODULES


def names_read_twice(
    package: str, backwards: bool, everything_first: bool = False
) -> list[tuple[str, str, str, bool]]:
    """Its public names, each the same object however often it is read."""
    found: list[tuple[str, str, str, bool]]
    found = fresh(public_names, package, backwards, everything_first)
    assert all(same for *_, same in found), [line for line in found if not line[-1]]
    assert len({name for name, *_ in found}) == len(found)
    return found


def run_python(code: str, *arguments: str) -> str:
    """What a fresh process prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return done.stdout


def test_libraries_for_meshes_load_when_a_mesh_is_asked_for() -> None:
    code = """if True:
        import sys
        import sdfrender as sr
        libraries = {"trimesh", "igl", "skimage"}
        assert not libraries & set(sys.modules)
        ball = sr.Lattice.sphere(0.5, resolution=8)
        sr.render(ball, sr.Cameras.look_at([[0.0, 0.0, 3.0]], width=4))
        assert not libraries & set(sys.modules)
        assert callable(sr.metrics.chamfer) and callable(sr.extract_mesh)
        assert callable(sr.load_mesh) and callable(sr.save_mesh)
        assert "trimesh" in sys.modules
        assert not hasattr(sr, "no_such_name")
    """
    run_python(code)


def test_nothing_reads_or_writes_pickles() -> None:
    for path in sources(*PACKAGES, "assets", "tests"):
        where = path.relative_to(ROOT)
        text = path.read_text(encoding="utf-8")
        if not SUSPECT.search(text):  # most files are not parsed
            continue
        assert not imported_packages(path) & UNSAFE, where
        called = calls(path)
        for call in called.get("torch.load", []):
            options = {k.arg: ast.unparse(k.value) for k in call.keywords}
            assert options.get("weights_only") == "True", f"{where}:{call.lineno}"
        for name in ("np.load", "numpy.load"):
            for call in called.get(name, []):
                options = {k.arg: ast.unparse(k.value) for k in call.keywords}
                assert options.get("allow_pickle", "False") == "False", f"{where}:{call.lineno}"
        for name in ("torch.save", "np.save", "eval", "exec"):
            assert name not in called, f"{where} calls {name}"


def tracked_files() -> list[Path]:
    """Files under version control, or all that would be, without caches."""
    git = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(git, capture_output=True, check=True).stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):
        folders = [ROOT / name for name in (*PACKAGES, "tests", "assets", ".ci")]
        return [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return [ROOT / name for name in listed if name and (ROOT / name).is_file()]


def test_no_paths_of_one_machine() -> None:
    # A home folder, a work folder, a drive: whatever begins at the root of someone's disk.
    absolute = re.compile(
        r"(?<![\w.:/<])/(home|root|work|tmp|Users|mnt|data|opt)/\w|\b[C-Z]:\\\\?\w"
    )
    checked = 0
    for path in tracked_files():
        if path == Path(__file__) or (path.suffix not in TEXT and path.name != "run"):
            continue
        checked += 1
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            assert not absolute.search(line), f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
    assert checked > 20


def test_the_checks_see_what_they_look_for(tmp_path: Path) -> None:
    source = "import a.b\nfrom c import d\ndef f():\n    import e\nimportlib.import_module('g.h')\n"
    assert set(imports(ast.parse(source))) == {"a.b", "c.d", "e", "g.h"}
    assert home("sdfrender.errors.InputError", {"sdfrender.errors": tmp_path}) == "sdfrender.errors"
    assert home("numpy.linalg", {"sdfrender.errors": tmp_path}) == ""
    modules: Graph = {"p.a.x": {"p.b.y", "p.a.z"}, "p.b.y": {"p.a.z"}, "p.a.z": set()}
    assert not cycle(modules)
    assert room_graph(modules) == {"p.a": {"p.b"}, "p.b": {"p.a"}}
    assert set(cycle(room_graph(modules))) == {"p.a", "p.b"}
    (tmp_path / "x.py").write_text("torch.load(f)\nnp.load(f, allow_pickle=True)")
    assert [call.lineno for call in calls(tmp_path / "x.py")["torch.load"]] == [1]
