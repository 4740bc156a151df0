"""Locks, environments, documents and set-up scripts agree with one another and with the code."""

import importlib.metadata
import importlib.util
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# What snapatac2 asks for and never imports on our way; see docs/decisions/0001-house.md.
LEFT_OUT = {"macs3", "kaleido"}


def lock(name: str) -> dict[str, Version]:
    lines = (ROOT / f"locks/{name}.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"==[^,*+]+", str(pin.specifier)) for pin in pins)
    return {canonicalize_name(p.name): Version(str(p.specifier)[2:]) for p in pins}


def test_locked_versions_lie_in_the_ranges_of_the_project():
    pins = lock("main")
    wanted = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]
    for requirement in map(Requirement, wanted):
        version = pins.get(canonicalize_name(requirement.name))
        assert version, f"{requirement} has no pin in locks/main.txt"
        assert version in requirement.specifier, f"locks/main.txt: {version} breaks {requirement}"


def test_main_lock_holds_all_that_its_packages_need():
    pins = lock("main")
    for name in pins.keys() - {"torch"}:  # torch brings what this machine's build of it needs
        for text in importlib.metadata.requires(name) or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                found = canonicalize_name(needed.name)
                assert found in pins.keys() | LEFT_OUT, f"{name} needs {needed}"


def test_installed_versions_are_the_locked_ones():
    different = {
        name: installed
        for name, version in lock("main").items()
        if Version(installed := importlib.metadata.version(name).split("+")[0]) != version
    }
    assert not different, "run `make setup`"


def test_liger_has_its_own_lock():
    assert {"pyliger", "louvain"} <= lock("liger").keys()


def test_every_environment_of_a_rule_exists_and_names_a_lock():
    rules = "".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))
    named = set(re.findall(r'"\.\./envs/(\w+)\.yaml"', rules))
    assert "epifoundation" in named
    for name in named | {"liger"}:
        python = yaml.safe_load((ROOT / f"envs/{name}.yaml").read_text())["dependencies"][0]
        assert python == "python=3.11"
        install = (ROOT / f"envs/{name}.post-deploy.sh").read_text()
        assert f"-r locks/{'liger' if name == 'liger' else 'main'}.txt" in install


def test_documents_name_targets_and_files_that_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"setup", "demo", "test", "check", "format", "docs", "dag", "clean"} <= targets
    for page in ("README.md", "CONTRIBUTING.md", "docs/index.md", "docs/tutorial.md"):
        text = (ROOT / page).read_text()
        assert set(re.findall(r"`make ([a-z]+)`", text)) <= targets, page
        for path in re.findall(r"`((?:config|src|slurm|scripts|tests)/[\w/.-]+)`", text):
            assert (ROOT / path).exists() or "mine" in path or "trial" in path, f"{page}: {path}"
        for path in re.findall(r"\]\(([\w/.-]+)\)", text):
            assert ((ROOT / page).parent / path).exists(), f"{page}: {path}"


@pytest.mark.slow
def test_the_page_of_files_is_up_to_date():
    spec = importlib.util.spec_from_file_location("d", ROOT / "scripts/document_data.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = (ROOT / "docs/data.md").read_text()
    assert module.document() == written, "docs/data.md is out of date: run `make docs`"


def test_continuous_integration_runs_make_test():
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert "make browser test" in (ROOT / ".ci/run").read_text()


@pytest.fixture
def program(tmp_path):
    """A function that puts a program of one line in a folder and returns the folder."""

    def write(name, line):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)
        return tmp_path

    return write


def run_script(script, *options, **environment):
    command = ["bash", ROOT / "scripts" / script, *options]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | environment
    )


def test_an_old_python_is_refused_in_one_line(program):
    old = program("python3", 'if [ "$1" = --version ]; then echo Python 3.9.2; else exit 1; fi')
    refused = run_script("python_environment.sh", "main", PYTHON=str(old / "python3"))
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert "Python 3.11 or newer is needed" in line
    assert "Python 3.9.2" in line
    assert "make setup PYTHON=" in line


def test_another_macs2_is_refused_by_name(program):
    folder = program("macs2", "echo macs2 2.1.4")
    checked = run_script("native_tools.sh", "--check", PATH=f"{folder}:{os.environ['PATH']}")
    assert checked.returncode == 1
    assert "macs2 2.1.4, not used: only 2.2.7.1 and 2.2.9.1" in checked.stdout
    assert "macs2" in checked.stderr.splitlines()[-1]
