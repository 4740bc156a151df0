"""Markdown, LaTeX and HTML of a page of tables, and the files of a table."""

import html
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from epifoundation.files import whole
from epifoundation.reporting.page import Cell, Grid, Page

EMPTY = "—"
MARKDOWN_SIGNS = re.compile(r"([\\`*_\[\]|])")  # of which a reader of Markdown would make something
LATEX_SIGNS = {
    "\\": r"\textbackslash{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after a line's end it would begin an option
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "²": r"$^2$",
    EMPTY: "--",
}


def markdown_text(text: str) -> str:
    """Return the text such that Markdown shows it as it is, in a cell too."""
    escaped = MARKDOWN_SIGNS.sub(r"\\\1", " ".join(text.split()))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def latex_text(text: str) -> str:
    """Return the text such that LaTeX shows it as it is."""
    return "".join(LATEX_SIGNS.get(sign, sign) for sign in " ".join(text.split()))


def to_markdown(page: Page) -> str:
    """Return the page as Markdown."""

    def cell(content: Cell) -> str:
        text = markdown_text(content.text)
        if content.bold:
            text = f"**{text}**"
        if content.reason:
            text = f"{EMPTY} ({page.mark(content)})"
        return "<br>".join([text, *map(markdown_text, content.details)])

    lines = [f"# {markdown_text(page.title)}", ""]
    for grid in page.grids:
        lines += [f"## {markdown_text(grid.title)}", ""] if grid.title else []
        lines += [_piped(map(markdown_text, grid.header)), _piped(["---"] * len(grid.header))]
        lines += [_piped(map(cell, row)) for row in grid.rows]
        lines.append("")
    lines += [f"- {markdown_text(remark)}" for remark in page.remarks]
    lines += [f"- ({n}) {markdown_text(why)}" for n, why in enumerate(page.reasons, start=1)]
    return "\n".join(lines) + "\n"


def _piped(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def to_latex(page: Page) -> str:
    """Return the page as LaTeX tables, each of the width of the text (booktabs, graphicx)."""

    def cell(content: Cell) -> str:
        text = latex_text(content.text)
        if content.reason:
            text = f"--$^{{{page.mark(content)}}}$"
        if content.bold:
            text = rf"\textbf{{{text}}}"
        if not content.details:
            return text
        smaller = [rf"{{\scriptsize {latex_text(line)}}}" for line in content.details]
        lines = r"\\".join([text, *smaller])
        return rf"\shortstack[l]{{{lines}}}"

    blocks = []
    for place, grid in enumerate(page.grids):
        caption = f"{page.title}. {grid.title}" if grid.title else page.title
        lines = [r"\begin{table}", r"\centering", rf"\caption{{{latex_text(caption)}}}"]
        lines += [r"\resizebox{\linewidth}{!}{%", rf"\begin{{tabular}}{{{'l' * len(grid.header)}}}"]
        lines += [r"\toprule", " & ".join(map(latex_text, grid.header)) + r" \\", r"\midrule"]
        lines += [" & ".join(map(cell, row)) + r" \\" for row in grid.rows]
        lines += [r"\bottomrule", r"\end{tabular}}"]
        if place == len(page.grids) - 1:
            lines += _latex_notes(page)
        blocks.append("\n".join([*lines, r"\end{table}"]))
    if not blocks:
        lines = [r"\begin{table}", rf"\caption{{{latex_text(page.title)}}}", *_latex_notes(page)]
        blocks.append("\n".join([*lines, r"\end{table}"]))
    return "\n\n".join(blocks) + "\n"


def _latex_notes(page: Page) -> list[str]:
    reasons = [f"({number}) {reason}" for number, reason in enumerate(page.reasons, start=1)]
    notes = [latex_text(note) + r"\par" for note in [*page.remarks, *reasons]]
    return ["", r"\smallskip\raggedright\scriptsize", *notes]


def to_html_fragment(page: Page) -> str:
    """Return heading, grids and notes, to stand within a page."""
    lines = [f"<h3>{html.escape(page.title)}</h3>"]
    lines += [_html_grid(page, grid) for grid in page.grids]
    notes = "".join(f"<li>{html.escape(remark)}</li>" for remark in page.remarks)
    lines.append(f'<ul class="notes">{notes}</ul>')
    if page.reasons:
        reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in page.reasons)
        lines.append(f'<p>Why cells are empty:</p><ol class="notes">{reasons}</ol>')
    return "\n".join(lines) + "\n"


def _html_grid(page: Page, grid: Grid) -> str:
    def cell(content: Cell) -> str:
        text = html.escape(content.text)
        if content.reason:
            title = html.escape(content.reason)
            text = f'<span title="{title}">{EMPTY}<sup>{page.mark(content)}</sup></span>'
        if content.bold:
            text = f"<b>{text}</b>"
        smaller = "".join(f"<br><small>{html.escape(line)}</small>" for line in content.details)
        return f"<td>{text}{smaller}</td>"

    title = f"<h4>{html.escape(grid.title)}</h4>\n" if grid.title else ""
    names = "".join(f"<th>{html.escape(name)}</th>" for name in grid.header)
    rows = ["<tr>" + "".join(map(cell, row)) + "</tr>" for row in grid.rows]
    lines = [f'{title}<div class="wide"><table class="data">', f"<thead><tr>{names}</tr></thead>"]
    return "\n".join([*lines, "<tbody>", *rows, "</tbody></table></div>"])


def part_of_page(name: str) -> str:
    """Return the text of a file beside this module, for use within a page."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def to_html(page: Page) -> str:
    """Return the page as an HTML document without external resources."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(page.title)}</title>\n<style>\n{part_of_page('page.css')}</style>\n"
        f"</head>\n<body>\n{to_html_fragment(page)}"
        f"<script>\n{part_of_page('page.js')}</script>\n</body>\n</html>\n"
    )


def write_table(table: pd.DataFrame, page: Page, outputs: Mapping[str, str]) -> None:
    """Write the table as tsv, md, tex and html; `outputs` maps these names to paths."""
    writers = {"md": to_markdown, "tex": to_latex, "html": to_html}
    for name, path in outputs.items():
        with whole(path) as partial:
            if name == "tsv":
                table.map(_one_line).to_csv(partial, sep="\t", index=False, float_format="%.6f")
            else:
                partial.write_text(writers[name](page), encoding="utf-8")


def _one_line(value: object) -> object:
    """Return a text without tabs and line breaks, which would shift what follows in a TSV."""
    return " ".join(value.split()) if isinstance(value, str) else value
