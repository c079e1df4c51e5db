"use strict";

// A click on a figure shows it as large as the window; another click, or Escape, closes it.
const dialog = document.body.appendChild(document.createElement("dialog"));
dialog.addEventListener("click", () => dialog.close());
for (const image of document.querySelectorAll("figure img")) {
  image.addEventListener("click", () => {
    const copy = image.cloneNode();
    copy.removeAttribute("width");
    dialog.replaceChildren(copy);
    dialog.showModal();
  });
}

// A click on a column's head sorts the table by it, by numbers where there are any.
function value(row, column) {
  const text = row.cells[column].textContent.replace("\u2212", "-");
  const number = parseFloat(text);
  return Number.isNaN(number) ? text : number;
}

function compare(a, b) {
  return typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1;
}

for (const table of document.querySelectorAll("table.sortable")) {
  const head = table.rows[0];
  for (const [column, cell] of [...head.cells].entries()) {
    cell.addEventListener("click", () => {
      const sign = cell.ariaSort === "ascending" ? -1 : 1;
      for (const other of head.cells) other.ariaSort = "none";
      cell.ariaSort = sign === 1 ? "ascending" : "descending";
      const body = table.tBodies[0];
      const rows = [...body.rows].filter((row) => row !== head);
      rows.sort((a, b) => sign * compare(value(a, column), value(b, column)));
      body.append(...rows);
    });
  }
}

// Paper shows what is folded on the screen.
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
