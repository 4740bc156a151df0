"""Table 5: settings of model and training, beside the printed ones."""

import ast
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

import epifoundation
from epifoundation.reporting.layouts import NOT_PRINTED
from epifoundation.reporting.printed import OPTIMIZER, SCHEDULE, TABLE_5

SCHEDULES = {"cosine": SCHEDULE}  # of the setting `schedule`, as the paper calls them
VERDICTS = {None: NOT_PRINTED, True: "same", False: "different"}
LOOP = "training/loop.py"


def settings_table(sections: Mapping[str, Mapping[str, object]]) -> pd.DataFrame:
    """Return Table 5: every setting of model and training, beside the printed one.

    Parameters
    ----------
    sections
        Name and plain content of sections of the configuration.
    """
    rows = [
        _compared(section, key, value)
        for section, content in sections.items()
        for key, value in content.items()
    ]
    ours = ", ".join(optimizers()) or "none"
    same = VERDICTS[ours == OPTIMIZER]
    rows.append(("training", "Optimizer", "", ours, OPTIMIZER, same))
    names = ["section", "parameter", "key", "value", "printed", "verdict"]
    return pd.DataFrame(rows, columns=names)


def _compared(section: str, key: str, value: object) -> tuple[str, ...]:
    where = f"{section}.{key}"
    if (section, key) == ("pretrain", "schedule"):
        ours = SCHEDULES.get(str(value), str(value).replace("_", " "))
        return section, "LR scheduling", where, ours, SCHEDULE, VERDICTS[ours == SCHEDULE]
    name, number = TABLE_5.get((section, key), (key.replace("_", " "), None))
    same = None if number is None else float(str(value)) == number
    theirs = "" if number is None else f"{number:g}"
    return section, name, where, str(value), theirs, VERDICTS[same]


def optimizers() -> list[str]:
    """Return the names of torch's optimisers that the training loop calls, from its source.

    Read, not imported: torch takes seconds to load.
    """
    source = Path(epifoundation.__file__).parent / LOOP
    calls = [node for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.Call)]
    called = [ast.unparse(call.func) for call in calls]
    begin = "torch.optim."
    return sorted({name.removeprefix(begin) for name in called if name.startswith(begin)})
