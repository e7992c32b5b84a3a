"""The files that describe the project agree with each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from imports import PACKAGES
from places import ROOT

import sdfrender

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT, HATCH = PYPROJECT["project"], PYPROJECT["tool"]["hatch"]
EXTRAS = PROJECT["optional-dependencies"]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def required(requirements: list[str]) -> set[str]:
    """Names of packages, without their versions."""
    return {re.split(r"[<>=!~ \[]", x, maxsplit=1)[0].lower() for x in requirements}


@pytest.mark.parametrize("package", PACKAGES)
def test_the_packages_say_that_they_are_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()


def test_one_version() -> None:
    assert PROJECT["dynamic"] == ["version"]
    assert HATCH["version"]["path"] == "sdfrender/__init__.py"
    assert f"\nversion: {sdfrender.__version__}\n" in text("CITATION.cff")
    assert f"\n## [{sdfrender.__version__}] - " in text("CHANGELOG.md")
    assert f"sdfrender-{sdfrender.__version__}-py3" in text("docs/start/install.md")


def test_one_license() -> None:
    assert f"\nlicense: {PROJECT['license']}\n" in text("CITATION.cff")
    assert "Apache License" in text("LICENSE")


def test_what_is_installed_for_tests_is_pinned() -> None:
    pinned = {line.split("==")[0].lower() for line in text("constraints.txt").splitlines()[2:]}
    needed = required([*PROJECT["dependencies"], *EXTRAS["test"], *EXTRAS["dev"], *EXTRAS["docs"]])
    assert len(needed) > 20
    assert needed <= pinned


def test_commits_go_through_the_checks_of_ci() -> None:
    ci, hooks = text(".ci/run"), text(".pre-commit-config.yaml")
    entries = re.findall(r"entry: \.venv/bin/(.+)", hooks)
    assert len(entries) == 3
    for entry in entries:
        check = entry.removesuffix(" --force-exclude")
        assert f'"{check}' in ci, f"{check} is not in .ci/run"
    assert set(re.findall(r"repo: (\S+)", hooks)) == {"local"}  # no network


def test_files_that_contributors_are_sent_to_exist() -> None:
    paths = re.findall(
        r"`((?:sdfrender|multiview|singleview|docs|tests|\.ci)/[\w./]+)`", text("CONTRIBUTING.md")
    )
    assert len(paths) > 10
    for path in paths:
        assert (ROOT / path).exists(), path


def test_workflows_try_the_versions_that_the_package_names() -> None:
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    yaml = pytest.importorskip("yaml", reason="pyyaml is not installed")
    workflow = yaml.safe_load(text(".github/workflows/tests.yml"))
    assert workflow["jobs"]["tests"]["strategy"]["matrix"]["python"] == named
    assert workflow["jobs"]["all-checks"]["steps"][-1]["run"] == ".ci/run"


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda p: p.name)
def test_files_for_the_host_are_well_formed(path: Path) -> None:
    yaml = pytest.importorskip("yaml", reason="pyyaml is not installed")
    loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    for job in loaded.get("jobs", {}).values():
        assert {"runs-on", "steps"} <= set(job)
        assert all(("uses" in step) != ("run" in step) for step in job["steps"])
