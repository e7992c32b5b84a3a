"""What may import what, and what no file may contain."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("sdfrender", "multiview", "singleview")
# The maths: geometry in, image and derivatives out.
CORE = (
    "lattice",
    "cameras",
    "lighting",
    "primitives",
    "sampling",
    "shade",
    "render",
    "ops",
    "reference_pixels",
    "trilinear",
    "linearize",
    "energies",
)
NOT_IN_CORE = {"matplotlib", "tyro", "tqdm", "rich", "imageio", "argparse", "logging"}
# Pickles run code when they are read.
UNSAFE = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
TEXT = {".py", ".toml", ".md", ".txt", ".json", ".yml", ".yaml", ".cfg", ".sh", ".html", ".csv"}


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imports(source: str) -> Iterator[str]:
    """Dotted names of all modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import: write the full name"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute | ast.Name)
            and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__")
            and isinstance(node.args[0], ast.Constant)
        ):
            yield str(node.args[0].value)


def imported_packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path.read_text(encoding="utf-8"))}


def calls(path: Path, function: str) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == function:
            yield node


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_down_only(package: str) -> None:
    forbidden = {*PACKAGES, "tests"} - {"sdfrender", package}
    for path in sources(package):
        found = imported_packages(path) & forbidden
        assert not found, f"{path.relative_to(ROOT)} imports {found}"


def test_the_maths_knows_no_command_line_and_no_plots() -> None:
    core = [path for path in sources("sdfrender") if path.stem in CORE]
    core += sources("sdfrender/engines")
    assert len(core) >= 7
    for path in core:
        found = imported_packages(path) & NOT_IN_CORE
        assert not found, f"{path.relative_to(ROOT)} imports {found}"


def test_the_ray_tracer_shares_no_code_with_the_renderer() -> None:
    names = set(imports((ROOT / "sdfrender" / "raytrace.py").read_text(encoding="utf-8")))
    ours = {name.split(".")[1] for name in names if name.startswith("sdfrender.")}
    assert ours == {"cameras", "lighting"}


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
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_nothing_reads_or_writes_pickles() -> None:
    for path in sources(*PACKAGES, "assets", "tests"):
        where = path.relative_to(ROOT)
        assert not imported_packages(path) & UNSAFE, where
        for call in calls(path, "torch.load"):
            options = {k.arg: ast.unparse(k.value) for k in call.keywords}
            assert options.get("weights_only") == "True", f"{where}:{call.lineno}"
        for name in ("np.load", "numpy.load"):
            for call in calls(path, name):
                options = {k.arg: ast.unparse(k.value) for k in call.keywords}
                assert options.get("allow_pickle", "False") == "False", f"{where}:{call.lineno}"
        for name in ("torch.save", "np.save", "eval", "exec"):
            assert not list(calls(path, name)), f"{where} calls {name}"


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
    assert set(imports(source)) == {"a.b", "c.d", "e", "g.h"}
    (tmp_path / "x.py").write_text("torch.load(f)\nnp.load(f, allow_pickle=True)")
    assert [call.lineno for call in calls(tmp_path / "x.py", "torch.load")] == [1]
