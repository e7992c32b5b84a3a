"""Tables and folders of runs after a kill, a full disk, or beside another process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sdfrender import InputError
from sdfrender.files.atomic import atomic_write, write_bytes
from sdfrender.files.locks import locked
from sdfrender.files.run_files import append_rows, begin_table, complete_rows, resume_table

COLUMNS = ("step", "name", "total")
NAMES = ["plain", "a,b", 'say "no"', "two\nlines", "one\u2028line", "cr\rlf\r\n", ""]
ROWS = [(n, name, f"{n / 3:.9g}") for n, name in enumerate(NAMES, 1)]


def table(folder: Path) -> Path:
    file = folder / "losses.csv"
    begin_table(file, COLUMNS)
    append_rows(file, ROWS)
    return file


def test_a_resumed_table_has_each_step_once_whatever_the_names(tmp_path: Path) -> None:
    file = table(tmp_path)
    whole = file.read_bytes()
    resume_table(file, COLUMNS, 99)
    assert file.read_bytes() == whole
    resume_table(file, COLUMNS, 4)
    assert complete_rows(file) == [list(COLUMNS), *([str(n), *rest] for n, *rest in ROWS[:4])]
    append_rows(file, ROWS[4:])
    assert file.read_bytes() == whole
    append_rows(file, ROWS[2:])  # logged twice
    resume_table(file, COLUMNS, 99)
    assert file.read_bytes() == whole


@pytest.mark.parametrize("cut", range(1, 60, 4))
def test_a_table_that_is_cut_off_anywhere_goes_on(cut: int, tmp_path: Path) -> None:
    file = table(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(whole[:-cut])
    resume_table(file, COLUMNS, 99)
    rows = complete_rows(file)
    assert rows == [list(COLUMNS), *([str(n), *rest] for n, *rest in ROWS[: len(rows) - 1])]
    append_rows(file, ROWS[len(rows) - 1 :])
    assert file.read_bytes() == whole


@pytest.mark.parametrize("damage", [None, b"", b"step,na", b"\0\xff\n\0", b"other,columns\n1,2\n"])
def test_a_table_that_is_lost_begins_again_and_says_so(
    damage: bytes | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "losses.csv"
    if damage is not None:
        file.write_bytes(damage)
    resume_table(file, COLUMNS, 0)
    assert not caplog.records  # nothing was lost
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage)
    resume_table(file, COLUMNS, 3)
    assert complete_rows(file) == [list(COLUMNS)]
    assert "losses.csv: missing or damaged; it begins again after step 3" in caplog.text


# ---------------------------------------------------------------------- one process at a time

HOLD = """
import sys
from pathlib import Path
from sdfrender.files.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> "subprocess.Popen[str]":
    """A process that has the folder to itself until its input ends."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    process = subprocess.Popen(command, stdin=-1, stdout=-1, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_folder_that_another_process_holds_is_refused_and_its_owner_named(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "run"
    with holder(folder) as other:
        with (
            pytest.raises(InputError, match=rf"run: .*process {other.pid} on .* since 2"),
            locked(folder),
        ):
            pass
        other.communicate("")
    assert list(folder.iterdir()) == []  # gone with its owner
    with locked(folder):
        told = json.loads((folder / ".lock").read_text())
        assert told["process"] == os.getpid()
        with pytest.raises(InputError, match=f"process {os.getpid()} "), locked(folder):
            pass
    with locked(folder):
        pass


def test_a_lock_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with holder(folder) as other:
        other.kill()
    assert (folder / ".lock").exists()
    with locked(folder):
        pass
    assert list(folder.iterdir()) == []


def test_what_was_cut_off_is_removed_and_nothing_else(tmp_path: Path) -> None:
    kept = [".hidden", "a.partial.ply", ".mesh.partial.ply", "deeper/.x.0123abcd.partial", "a.ply"]
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / ".lock").touch()  # somebody else's
    for name in kept:
        write_bytes(tmp_path / name, b"x")
    with atomic_write(tmp_path / "mesh.ply") as partial:
        partial.write_bytes(b"x")
        partial.with_name(partial.name.replace("mesh", "other")).write_bytes(b"half")
    with locked(tmp_path):
        pass
    found = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert found == {*kept, "mesh.ply", "deeper/.lock"}


def write_to_full(file: Path) -> None:
    with atomic_write(file) as partial:
        partial.symlink_to("/dev/full")
        partial.write_bytes(b"x")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_with_the_name_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No space left on device: '.*/lattice\.npz'"):
        write_to_full(tmp_path / "lattice.npz")
    (tmp_path / "losses.csv").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device: '.*/losses\.csv'"):
        append_rows(tmp_path / "losses.csv", ROWS)
    assert [p.name for p in tmp_path.iterdir()] == ["losses.csv"]
