"""Where work is done: what is refused, and how a machine is shared out."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from sdfrender import InputError
from sdfrender.cluster import connect
from sdfrender.cluster.settings import ClusterSettings


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"scheduler": "host:8786"}, "--scheduler: need an address such as tcp://HOST:8786"),
        ({"scheduler": "tcp://h:1", "workers": 2}, "--workers: tcp://h:1 has workers of its own"),
        ({"scheduler": "tls://h:1"}, "--tls-ca: need --tls-ca, --tls-cert, --tls-key for tls:"),
        ({"workers": 0}, "--workers: need at least 1, got 0"),
        ({"gpus": -1}, "--gpus: need at least 0, got -1"),
        ({"retries": -1}, "--retries: need at least 0, got -1"),
        ({"memory": "much"}, "--memory: need an amount such as 8GB, got 'much'"),
        ({"memory": "0"}, "--memory: need an amount such as 8GB, got '0'"),
        ({"tls_ca": Path("ca.pem")}, "--tls-cert: need all three of"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        ClusterSettings(**wrong)
    assert message in str(error.value)


def test_certificates_have_to_be_there(tmp_path: Path) -> None:
    files = {f"tls_{name}": tmp_path / name for name in ("ca", "cert", "key")}
    with pytest.raises(InputError, match="--tls-ca: need a file, there is no"):
        ClusterSettings(**files).need_files()  # type: ignore[arg-type]
    for file in files.values():
        file.write_text("")
    settings = ClusterSettings(**files)  # type: ignore[arg-type]
    settings.need_files()
    assert settings.encrypted


@pytest.mark.parametrize(
    ("text", "amount"),
    [("8GB", 8e9), ("1.5 gb", 1.5e9), ("512MiB", 2**29), ("4000000", 4e6), ("2G", 2e9)],
)
def test_amounts_of_memory(text: str, amount: float) -> None:
    settings = ClusterSettings(memory=text)
    assert settings.memory_bytes == amount
    assert settings.demands == {"MEMORY": amount}
    assert ClusterSettings(memory=text, gpus=2).demands == {"MEMORY": amount, "GPU": 2.0}
    assert not ClusterSettings().demands


def shared_out(tasks: int = 99, **settings: Any) -> dict[str, Any]:
    """Of a machine with 8 processors, 32 GB and 4 GPUs."""
    pytest.importorskip("distributed", reason="needs the extra `cluster`")
    with (
        patch("distributed.system.MEMORY_LIMIT", 32 * 10**9),
        patch.object(connect, "processors", return_value=8),
        patch.object(connect, "_gpus", return_value=4),
    ):
        return connect.local_options(ClusterSettings(**settings), tasks)


def test_a_machine_is_shared_out() -> None:
    assert shared_out() == {"n_workers": 8, "memory_limit": 4 * 10**9, "resources": {}}
    assert shared_out(tasks=3)["n_workers"] == 3
    assert shared_out(workers=2)["memory_limit"] == 16 * 10**9
    few = shared_out(memory="10GB")
    assert few["n_workers"] == 3
    assert few["resources"]["MEMORY"] == few["memory_limit"] >= 10 * 10**9
    assert shared_out(gpus=2) == {
        "n_workers": 2,
        "memory_limit": 16 * 10**9,
        "resources": {"MEMORY": 16 * 10**9, "GPU": 2},
    }


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"memory": "33GB"}, "--memory: need at most the 32.0 GB that this machine has"),
        ({"memory": "10GB", "workers": 4}, "--workers: need at most 3 for tasks of 10GB each"),
        ({"gpus": 5}, "--gpus: need at most the 4 of this machine, got 5"),
    ],
)
def test_more_than_a_machine_has_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        shared_out(**wrong)
    assert message in str(error.value)
