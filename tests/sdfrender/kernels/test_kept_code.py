"""numba's cache on disk when it is damaged, full, or nowhere: code is compiled, and it is said."""

import errno
import importlib
from pathlib import Path

import pytest
from numba.core import caching
from processes.forked import in_a_fork, needs_fork

from sdfrender.commands.messages import messages_on_stderr

pytestmark = needs_fork

KERNEL = """
from sdfrender.kernels.compiled import kernel, scalar

@scalar
def double(x):
    return 2 * x

@kernel
def times_six(x):
    return 3 * double(x)
"""


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def use(folder: Path, how: str) -> None:
    """Call a kernel of a folder, as a process does that has not seen it before."""
    with pytest.MonkeyPatch.context() as patch, messages_on_stderr():
        patch.syspath_prepend(folder)
        if how == "full":
            patch.setattr(caching.IndexDataCacheFile, "_save_data", full)
        if how == "full, and to begin with":
            patch.setattr(caching.IndexDataCacheFile, "_save_index", full)
        if how == "nowhere":
            patch.setattr(caching.CacheImpl, "_locator_classes", [])
        times_six = importlib.import_module("kernels_to_try").times_six
        assert times_six(7.0) == 42.0
        assert times_six(7) == 42
    print(sum(times_six.stats.cache_hits.values()))


def run(folder: Path, how: str = "") -> tuple[int, str]:
    """Cache hits of a process, and what it tells."""
    done = in_a_fork(lambda: use(folder, how))
    assert done.code == 0, done.err
    return int(done.out), done.err


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "kernels_to_try.py").write_text(KERNEL)
    assert run(tmp_path) == (0, "")
    assert run(tmp_path) == (2, "")
    return tmp_path


@pytest.mark.parametrize(
    ("ending", "damage"), [("nbi", "cut"), ("nbi", "noise"), ("nbc", "empty"), ("nbc", "zeros")]
)
def test_a_damaged_cache_is_compiled_again(ending: str, damage: str, folder: Path) -> None:
    files = list((folder / "__pycache__").glob(f"*times_six*.{ending}"))
    assert files
    for file in files:
        whole = file.read_bytes()
        changed = {
            "cut": whole[: len(whole) // 2],
            "empty": b"",
            "zeros": bytes(len(whole)),
            "noise": bytes((7 * n * n + 13) % 251 for n in range(len(whole))),
        }
        file.write_bytes(changed[damage])
    hits, told = run(folder)
    assert hits < 2
    assert f"warning: {folder / '__pycache__'}: the compiled code kept there is damaged" in told
    assert "delete the folder" in told
    assert run(folder)[1] == ""
    assert run(folder) == (2, "")


@pytest.mark.parametrize("how", ["full", "full, and to begin with"])
def test_a_full_disk_is_told_once(how: str, tmp_path: Path) -> None:
    (tmp_path / "kernels_to_try.py").write_text(KERNEL)
    hits, told = run(tmp_path, how)
    assert hits == 0
    assert len(told.splitlines()) == 1
    assert "__pycache__: compiled code cannot be kept there ([Errno 28] No space left" in told
    assert not list((tmp_path / "__pycache__").glob("*.tmp.*"))
    assert run(tmp_path)[1] == ""


def test_nowhere_to_keep_it(tmp_path: Path) -> None:
    (tmp_path / "kernels_to_try.py").write_text(KERNEL)
    assert run(tmp_path, "nowhere") == (0, "")
