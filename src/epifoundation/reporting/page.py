"""A table laid out for reading, and its Markdown, LaTeX and HTML."""

import html
import math
import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from epifoundation.files import whole
from epifoundation.reporting.layouts import (
    METHOD_NAMES,
    METRIC_NAMES,
    NOT_PRINTED,
    SMALLER_IS_BETTER,
    Layout,
)

METHOD_KEYS = ["atlas", "dataset", "protocol", "block", "method"]


@dataclass(frozen=True)
class Cell:
    """Text of a cell; a second, smaller line; or the reason why it is empty."""

    text: str
    detail: str = ""
    bold: bool = False
    reason: str = ""


@dataclass
class Page:
    """Title, header, rows and what stands below."""

    title: str
    header: list[str]
    rows: list[list[Cell]]
    remarks: list[str]
    reasons: list[str] = field(init=False)  # numbered from 1 below the table

    def __post_init__(self) -> None:
        reasons = [cell.reason for row in self.rows for cell in row if cell.reason]
        self.reasons = list(dict.fromkeys(reasons))

    def mark(self, cell: Cell) -> str:
        """Return the number of the cell's reason."""
        return str(self.reasons.index(cell.reason) + 1)


def lay_out(table: pd.DataFrame, layout: Layout) -> Page:
    """Return `tables.result_table` with one row per method and one column per metric."""
    several_protocols = not table.empty and table["protocol"].nunique() > 1
    arrows = [
        METRIC_NAMES[metric] + (" ↓" if metric in SMALLER_IS_BETTER else " ↑")
        for metric in layout.metrics
    ]
    header = ["Atlas", "Data set"]
    header += ["Protocol"] * several_protocols + ["Block"] * layout.has_blocks
    header += ["Method", *arrows, "Test cells", "Labels seen", "Verdict"]
    rows = []
    for group in _by_method(table):
        numbers = {str(row["metric"]): _number(row) for row in group.to_dict("records")}
        first = group.iloc[0]
        atlas, dataset, protocol, block, method = (str(first[key]) for key in METHOD_KEYS)
        missing = Cell("", reason="not scored")
        row = [Cell(atlas), Cell(dataset)]
        row += [Cell(protocol)] * several_protocols + [Cell(block)] * layout.has_blocks
        row += [Cell(METHOD_NAMES.get(method, method))]
        row += [numbers.get(metric, missing) for metric in layout.metrics]
        row += [Cell(f"{first['n_cells']:,}"), Cell(first["labels_seen"]), _verdicts(group)]
        rows.append(row)
    sources = ", ".join(sorted(set(table["label_source"]))) if not table.empty else "none"
    n_seeds = int(table["n_seeds"].max()) if not table.empty else 0
    remarks = [*layout.remarks, f"Label source: {sources}. Seeds: {n_seeds}."]
    if table.empty:
        remarks.append("No data set of this atlas is part of this comparison.")
    return Page(f"Table {layout.number}. {layout.title}", header, rows, remarks)


def _by_method(table: pd.DataFrame) -> list[pd.DataFrame]:
    if table.empty:
        return []
    return [group for _, group in table.groupby(METHOD_KEYS, sort=False)]


def _number(row: Mapping[Hashable, Any]) -> Cell:
    value, printed, deviation = (float(row[name]) for name in ("value", "printed", "deviation"))
    detail = "" if math.isnan(printed) else f"{printed:.4f}"
    if math.isnan(value):
        return Cell("", detail=detail, reason=str(row["note"]))
    text = f"{value:.4f}" + ("" if math.isnan(deviation) else f" ± {deviation:.4f}")
    if detail:
        detail += f" ({value - printed:+.4f})"
    return Cell(text, detail, bool(row["best"]))


def _verdicts(group: pd.DataFrame) -> Cell:
    printed = group[group["verdict"] != NOT_PRINTED]
    counts = (group if printed.empty else printed)["verdict"].value_counts(sort=False)
    if len(counts) == 1:
        return Cell(str(counts.index[0]))
    return Cell(", ".join(f"{name} {count}" for name, count in sorted(counts.items())))


def lay_out_settings(table: pd.DataFrame) -> Page:
    """Return `tables.settings_table` for reading."""
    columns = ["section", "parameter", "value", "printed", "verdict"]
    rows = [[Cell(str(value)) for value in row] for row in table[columns].itertuples(index=False)]
    header = ["Section", "Parameter", "Value", "Printed", "Verdict"]
    remarks = ["Settings without a printed value are not in the paper's table."]
    return Page("Table 5. Model and training settings", header, rows, remarks)


def to_markdown(page: Page) -> str:
    """Return the page as Markdown."""

    def cell(content: Cell) -> str:
        text = f"**{content.text}**" if content.bold else content.text
        if content.reason:
            text = f"— ({page.mark(content)})"
        return (text + (f"<br>{content.detail}" if content.detail else "")).replace("|", "\\|")

    lines = [f"# {page.title}", "", _piped(page.header), _piped(["---"] * len(page.header))]
    lines += [_piped([cell(content) for content in row]) for row in page.rows]
    lines += ["", *(f"- {remark}" for remark in page.remarks)]
    lines += [f"- ({number}) {reason}" for number, reason in enumerate(page.reasons, start=1)]
    return "\n".join(lines) + "\n"


def _piped(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def to_latex(page: Page) -> str:
    """Return the page as a LaTeX table (packages: booktabs)."""

    def cell(content: Cell) -> str:
        text = _tex(content.text)
        if content.reason:
            text = f"--$^{{{page.mark(content)}}}$"
        if content.bold:
            text = rf"\textbf{{{text}}}"
        if not content.detail:
            return text
        return rf"\shortstack{{{text}\\{{\scriptsize {_tex(content.detail)}}}}}"

    notes = [*page.remarks, *(f"({n}) {reason}" for n, reason in enumerate(page.reasons, start=1))]
    lines = [r"\begin{table}", r"\centering\scriptsize", rf"\caption{{{_tex(page.title)}}}"]
    lines += [rf"\begin{{tabular}}{{{'l' * len(page.header)}}}", r"\toprule"]
    lines += [" & ".join(map(_tex, page.header)) + r" \\", r"\midrule"]
    lines += [" & ".join(cell(content) for content in row) + r" \\" for row in page.rows]
    lines += [r"\bottomrule", r"\end{tabular}", "", r"\raggedright"]
    lines += [_tex(note) + r"\\" for note in notes]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _tex(text: str) -> str:
    escaped = re.sub(r"([&%$#_{}])", r"\\\1", text.replace("\\", "/"))
    for sign, command in (("↑", r"$\uparrow$"), ("↓", r"$\downarrow$"), ("±", r"$\pm$")):
        escaped = escaped.replace(sign, command)
    return escaped.replace("—", "--").replace("~", r"\textasciitilde{}")


def to_html_fragment(page: Page) -> str:
    """Return heading, table and notes, to stand within a page."""

    def cell(content: Cell) -> str:
        text = html.escape(content.text)
        if content.reason:
            title = html.escape(content.reason)
            text = f'<span title="{title}">—<sup>{page.mark(content)}</sup></span>'
        if content.bold:
            text = f"<b>{text}</b>"
        detail = f"<br><small>{html.escape(content.detail)}</small>" if content.detail else ""
        return f"<td>{text}{detail}</td>"

    notes = "".join(f"<li>{html.escape(remark)}</li>" for remark in page.remarks)
    reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in page.reasons)
    lines = [f"<h3>{html.escape(page.title)}</h3>", '<div class="wide"><table>', "<thead><tr>"]
    lines += [f"<th>{html.escape(name)}</th>" for name in page.header]
    lines += ["</tr></thead>", "<tbody>"]
    lines += ["<tr>" + "".join(cell(content) for content in row) + "</tr>" for row in page.rows]
    lines += ["</tbody></table></div>", f"<ul>{notes}</ul>"]
    if reasons:
        lines.append(f"<p>Why cells are empty:</p><ol>{reasons}</ol>")
    return "\n".join(lines) + "\n"


STYLE = """\
body { font: 15px/1.45 system-ui, sans-serif; color: #222; margin: 2rem auto; max-width: 76rem;
  padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; }
table { border-collapse: collapse; font-size: 13px; }
th, td { padding: .25rem .6rem; text-align: left; border-bottom: 1px solid #ddd;
  vertical-align: top; }
th { border-bottom: 2px solid #444; }
small { color: #666; }
.wide { overflow-x: auto; }
img { max-width: 100%; height: auto; }
pre { overflow-x: auto; background: #f5f5f5; padding: .8rem; font-size: 12px; }
"""


def to_html(page: Page) -> str:
    """Return the page as an HTML document without external resources."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(page.title)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"
        f"{to_html_fragment(page)}</body>\n</html>\n"
    )


def write_table(table: pd.DataFrame, page: Page, outputs: dict[str, str]) -> None:
    """Write the table as tsv, md, tex and html; `outputs` maps these names to paths."""
    texts = {"md": to_markdown(page), "tex": to_latex(page), "html": to_html(page)}
    for name, path in outputs.items():
        with whole(path) as partial:
            if name == "tsv":
                table.to_csv(partial, sep="\t", index=False, float_format="%.6f")
            else:
                Path(partial).write_text(texts[name], encoding="utf-8")
