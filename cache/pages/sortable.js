
"use strict";
// A click on a heading sorts its table by that column: numbers by data-value or by what is shown, all else as text.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const down = heading.getAttribute("aria-sort") === "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => {
        const cell = row.cells[place];
        const text = (cell.dataset.value ?? cell.textContent).trim();
        return text === "" ? null : text;
      };
      const compare = (a, b) => {
        if (a === null || b === null) return (a === null) - (b === null); // what is empty comes last either way
        const [x, y] = [a, b].map((text) => Number(text.replace(/(?<=\d),(?=\d{3}\b)/g, ""))); // 1,234
        const order = Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
        return down ? -order : order;
      };
      const rows = [...table.tBodies[0].rows].map((row) => [key(row), row]);
      rows.sort(([a], [b]) => compare(a, b));
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  });
}
