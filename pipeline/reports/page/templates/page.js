// Lets readers sort every table by a click, Enter or Space on a heading.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    heading.replaceChildren(button);
    button.addEventListener("click", () => sort(table, headings, column));
  });
}

function sort(table, headings, column) {
  const isNumber = headings[column].classList.contains("number");
  const before = headings[column].getAttribute("aria-sort");
  // Numbers begin with the largest, texts with A.
  const first = isNumber ? "descending" : "ascending";
  const other = isNumber ? "ascending" : "descending";
  const order = before === first ? other : first;
  const sign = order === "ascending" ? 1 : -1;
  const key = (row) => row.cells[column].dataset.value;
  const compare = isNumber
    ? (a, b) => (Number(key(a)) - Number(key(b)) || 0)
    : (a, b) => key(a).localeCompare(key(b), undefined, { numeric: true });
  const rows = [...table.tBodies[0].rows].sort((a, b) => sign * compare(a, b));
  table.tBodies[0].replaceChildren(...rows);
  headings.forEach((heading) => heading.removeAttribute("aria-sort"));
  headings[column].setAttribute("aria-sort", order);
}
