"""Rules that train or predict are rerun when any module that decides their result has changed."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "epifoundation"
# What only builds a vocabulary, exports names, reads other formats, fetches, tells, refuses, or
# hears signals.
DECIDES_NOTHING = {
    "data/csr_files.py",
    "data/latent.py",
    "data/multiome_rows.py",
    "hub/__init__.py",
    "hub/authors.py",
    "hub/authors_checkpoint.py",
    "hub/authors_vocabularies.py",
    "hub/card.py",
    "hub/remote.py",
    "model/authors.py",
    "training/aside.py",
    "training/refusals.py",
    "training/signals.py",
}
ROOMS = ("data/", "hub/", "inference/", "model/", "training/")
RULES = (
    "pretrain",
    "finetune_cell_type",
    "finetune_expression",
    "predict_cell_type",
    "embed_ablation",
    "embed_pretrained",
    "predict_expression",
)


def imported(path: Path) -> set[str]:
    """The modules of these folders that a Python file imports at its top."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if not isinstance(node, ast.ImportFrom) or not node.module:
            continue
        for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
            module = name.removeprefix("epifoundation.").replace(".", "/")
            if name in {"epifoundation.hub", "epifoundation.hub.from_pretrained"}:
                module = "hub/reading"  # which the package exports
            if module.startswith(ROOMS) and (PACKAGE / f"{module}.py").is_file():
                found.add(f"{module}.py")
    return found - DECIDES_NOTHING


def closure(modules: set[str]) -> set[str]:
    found: set[str] = set()
    while modules:
        found |= modules
        modules = set.union(*(imported(PACKAGE / one) for one in modules)) - found
    return found


@pytest.fixture(scope="module")
def listed() -> dict[str, set[str]]:
    """The modules that each rule lists, read by running the assignments and calls of `code_of`."""
    text = "".join(
        (ROOT / "rules" / f"{name}.smk").read_text() for name in ("models", "pretrain", "finetune")
    )
    values: dict[str, tuple[str, ...]] = {}
    for match in re.finditer(r"^([A-Z_]+_CODE) = (\(.*?\))$", text, re.MULTILINE | re.DOTALL):
        values[match[1]] = eval(match[2], {}, values)
    parts = re.split(r"^rule (\w+):$", text, flags=re.MULTILINE)
    calls = {
        name: re.search(r"code_of(\(.*?\)),\n", rule, re.DOTALL)[1]
        for name, rule in zip(parts[1::2], parts[2::2], strict=True)
    }
    return {name: eval(f"set(({call[1:-1]},))", {}, values) for name, call in calls.items()}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_that_asks_for_a_gpu_computes_on_the_device_of_the_settings(name):
    text = (ROOT / "workflow_scripts" / f"{name}.py").read_text()
    assert "usable(" in text or 'on_device(model, snakemake.config["training"]["device"])' in text


def test_each_rule_here_is_known(listed):
    assert set(listed) == set(RULES)


@pytest.mark.parametrize("name", RULES)
def test_a_rule_lists_all_that_decides_its_result(listed, name):
    needed = closure(imported(ROOT / "workflow_scripts" / f"{name}.py"))
    assert {"model/network.py", "data/store.py", "training/loader.py"} <= needed
    assert not needed - listed[name]
    assert all((PACKAGE / module).is_file() for module in listed[name])
