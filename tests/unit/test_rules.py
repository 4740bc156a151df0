"""Rules are rerun when any module that decides what they read has changed."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "epifoundation"
RULES = sorted((ROOT / "rules").glob("*.smk"))


def imported(path):
    """The modules of data/ that a Python file imports."""
    nodes = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom)]
    names = [f"{n.module}.{alias.name}" for n in nodes for alias in n.names]
    found = {re.sub(r"^epifoundation\.(data\.\w+).*", r"\1", name) for name in names}
    modules = {f"{name.replace('.', '/')}.py" for name in found if name.startswith("data.")}
    return {module for module in modules if (PACKAGE / module).is_file()}


def closure(module):
    found, left = set(), {module}
    while left:
        found |= left
        left = set.union(*(imported(PACKAGE / one) for one in left)) - found
    return found


def values_of(node, lists):
    """The strings among the arguments of a call or in a tuple, and of the tuples they name."""
    parts = node.args if isinstance(node, ast.Call) else node.elts
    found = set()
    for part in parts:
        if isinstance(part, ast.Constant):
            found.add(part.value)
        elif isinstance(part, ast.Starred) and isinstance(part.value, ast.Name):
            found |= values_of(lists[part.value.id], lists)
    return found


def call_in(text, begin):
    """The call or tuple that begins there, up to where its parentheses close."""
    depth = 0
    for end in range(text.index("(", begin), len(text)):
        depth += {"(": 1, ")": -1}.get(text[end], 0)
        if not depth:
            break
    return ast.parse(text[begin : end + 1], mode="eval").body


@pytest.fixture(scope="module")
def lists():
    """The tuples of modules that rules name, as they are written."""
    text = "\n".join(path.read_text() for path in RULES)
    named = re.finditer(r"^([A-Z_]+_CODE) = (?=\()", text, re.MULTILINE)
    return {match[1]: call_in(text, match.end()) for match in named}


@pytest.fixture(scope="module")
def rules(lists):
    """Of each rule: what it reads, the modules that its script imports, and those it lists."""
    found = {}
    for path in RULES:
        parts = re.split(r"^ *rule (\w+):$", path.read_text(), flags=re.MULTILINE)
        for name, text in zip(parts[1::2], parts[2::2], strict=True):
            inputs = re.search(r"^( *)input:\n(.*?)^\1output:", text, re.MULTILINE | re.DOTALL)
            script = re.search(r"workflow_scripts/\w+\.py", text)
            if "code_of(" in text and "lambda wildcards: code_of(" not in text:
                listed = values_of(call_in(text, text.index("code_of(")), lists)
                used = imported(ROOT / script[0])
                found[name] = (inputs[2] if inputs else "", used, listed)
    return found


@pytest.mark.parametrize(
    ("name", "module"),
    [("FRAGMENT_CODE", "data/fragment_reader.py"), ("IMPORT_CODE", "data/imports.py")],
)
def test_lists_name_a_module_and_all_that_it_imports(lists, name, module):
    assert values_of(lists[name], lists) == closure(module)


def test_rules_that_read_fragments_list_what_reads_them(rules):
    reading = {
        name: listed
        for name, (inputs, _, listed) in rules.items()
        if re.search(r"fragments_of|fragments=|activity_inputs", inputs)
    }
    assert {"import_fragments", "count", "call_peaks"} < reading.keys()
    assert "predict_expression_baselines" in reading
    needed = closure("data/fragment_reader.py")
    lacking = {name: needed - listed for name, listed in reading.items()}
    assert not any(lacking.values()), lacking


def test_rules_that_read_counts_of_others_list_what_reads_them(rules):
    readers = {"data/imports.py", "data/paired_files.py"}
    reading = {name: listed for name, (_, used, listed) in rules.items() if readers & used}
    assert {"import_fragments", "import_matrices", "count", "filter_cells", "cluster_rna"} <= set(
        reading
    )
    needed = closure("data/imports.py")
    lacking = {name: needed - listed for name, listed in reading.items()}
    assert not any(lacking.values()), lacking


def test_rules_list_the_modules_that_their_scripts_import(rules):
    """What lies between reading and the result: each module of data/ that a script names."""
    files_only = {"data/cells.py", "data/peak_files.py"}  # here only write counts, read lengths
    data_rules = ("import_fragments", "import_matrices", "count", "filter_cells", "take_peaks")
    for name in (*data_rules, "share_peaks", "call_peaks"):
        _, used, listed = rules[name]
        assert used - files_only <= listed, name


def test_rules_list_the_tables_that_their_modules_read(rules):
    tables = {path.name for path in (PACKAGE / "data").glob("*.tsv")}
    assert tables
    lacking = set()
    for name, (_, used, listed) in rules.items():
        for module in used | {module for module in listed if module.startswith("data/")}:
            if module.endswith(".py"):
                named = set(re.findall(r"\w+\.tsv", (PACKAGE / module).read_text())) & tables
                lacking |= {(name, f"data/{table}") for table in named} - {
                    (name, each) for each in listed
                }
    assert not lacking


def test_archives_are_asked_from_one_machine():
    """What they allow is kept to by all jobs of a machine, not of a cluster."""
    local = (ROOT / "Snakefile").read_text().partition("localrules:")[2].partition("\nrule ")[0]
    assert re.search(r"^ +resolve,", local, re.MULTILINE)
