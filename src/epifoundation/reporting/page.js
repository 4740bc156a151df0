// Sort a table by a click on a column's name, show only the rows that hold the words one types.
"use strict";
for (const table of document.querySelectorAll("table.data")) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const text = (row, column) => row.cells[column].innerText.trim();
  // The number a cell begins with (thousands may be separated), or NaN: 0.57 ± 0.01, 1,234, 12 %
  const number = (words) => {
    const found = words.replace("−", "-").match(/^[-+]?[\d,]*\.?\d+(e[-+]?\d+)?/i);
    return found ? Number(found[0].replaceAll(",", "")) : NaN;
  };

  function sort(column, down) {
    const keys = new Map(rows.map((row) => [row, text(row, column)]));
    const filled = rows.filter((row) => !/^(—.*)?$/.test(keys.get(row)));
    const empty = rows.filter((row) => !filled.includes(row));  // last in both directions
    const numeric = filled.every((row) => !Number.isNaN(number(keys.get(row))));
    const compare = numeric
      ? (a, b) => number(keys.get(a)) - number(keys.get(b))
      : (a, b) => keys.get(a).localeCompare(keys.get(b), "en", { numeric: true });
    filled.sort((a, b) => (down ? -compare(a, b) : compare(a, b)));
    body.append(...filled, ...empty);
  }

  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("span");  // with a button, print repeats no header
    button.setAttribute("role", "button");
    button.tabIndex = 0;
    button.title = "sort";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      sort(column, down);
    });
    button.addEventListener("keydown", (press) => {
      if (press.key !== "Enter" && press.key !== " ") return;
      press.preventDefault();
      button.click();
    });
  });

  if (rows.length < 5) continue;
  const bar = document.createElement("div");
  bar.className = "filter";
  const input = document.createElement("input");
  input.type = "search";
  input.placeholder = "filter rows";
  input.setAttribute("aria-label", "filter rows");
  const count = document.createElement("span");
  count.setAttribute("aria-live", "polite");
  bar.append(input, count);
  table.parentElement.before(bar);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const content = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => content.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    count.textContent = words.length ? `${shown} of ${rows.length} rows` : "";
  });
}

// What is folded is printed too.
addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details")) folded.open = true;
});
