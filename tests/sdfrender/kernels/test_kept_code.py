"""numba's cache on disk when it is damaged, full, or nowhere: code is compiled, and it is said."""

import subprocess
import sys
from pathlib import Path

import pytest

KERNEL = """
from sdfrender.kernels.compiled import kernel, scalar

@scalar
def double(x):
    return 2 * x

@kernel
def times_six(x):
    return 3 * double(x)
"""
RUN = """
import errno, sys
from unittest.mock import patch
sys.path.insert(0, sys.argv[1])
from sdfrender.commands.messages import messages_on_stderr
from numba.core import caching

def full(*args):
    raise OSError(errno.ENOSPC, "No space left on device")

with messages_on_stderr():
    if sys.argv[2] == "full":
        caching.IndexDataCacheFile._save_data = full
    if sys.argv[2] == "full, and to begin with":
        caching.IndexDataCacheFile._save_index = full
    if sys.argv[2] == "nowhere":
        caching.CacheImpl._locator_classes = []
    from kernels_to_try import times_six
    assert times_six(7.0) == 42.0
    assert times_six(7) == 42
print(sum(times_six.stats.cache_hits.values()))
"""


def run(folder: Path, how: str = "") -> tuple[int, str]:
    """Cache hits of a process, and what it tells."""
    command = [sys.executable, "-c", RUN, str(folder), how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return int(done.stdout), done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "kernels_to_try.py").write_text(KERNEL)
    assert run(tmp_path) == (0, "")
    assert run(tmp_path) == (2, "")
    return tmp_path


@pytest.mark.slow
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
