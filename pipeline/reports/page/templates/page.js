// Sorts and shortens tables, compares columns, marks where one is, opens everything for paper.
const FIRST_ROWS = 20;

function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = make("button", { type: "button", textContent: heading.textContent });
    heading.replaceChildren(button);
    button.addEventListener("click", () => sort(table, headings, column));
  });
  if (table.tBodies[0].rows.length > FIRST_ROWS) shorten(table);
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
  hideRest(table);
  headings.forEach((heading) => heading.removeAttribute("aria-sort"));
  headings[column].setAttribute("aria-sort", order);
}

function shorten(table) {
  const num = table.tBodies[0].rows.length;
  const button = make("button", { type: "button", className: "rest" });
  const show = (isAll) => {
    table.dataset.all = isAll ? "yes" : "";
    button.textContent = isAll ? `Show the first ${FIRST_ROWS}` : `Show all ${num.toLocaleString("en")} rows`;
    hideRest(table);
  };
  button.addEventListener("click", () => show(!table.dataset.all));
  table.closest(".scroll").after(button);
  table.classList.add("long-table");
  show(false);
}

function hideRest(table) {
  if (!table.classList.contains("long-table")) return;
  [...table.tBodies[0].rows].forEach((row, place) => {
    row.hidden = !table.dataset.all && place >= FIRST_ROWS;
  });
}

// Two columns of a table of settings beside each other, and the rows in which they differ.
for (const table of document.querySelectorAll("table.compare")) {
  const names = [...table.tHead.rows[0].cells].slice(1).map((cell) => cell.textContent);
  if (names.length < 2) continue;
  const text = (row, at) => row.cells[at + 1].textContent;
  const first = names.findIndex((_, at) => [...table.tBodies[0].rows].some((row) => text(row, 0) !== text(row, at)));
  const choices = [0, 1].map((place) => {
    const options = names.map((name, value) => make("option", { value, textContent: name }));
    const choice = make("select", {}, ...options);
    choice.value = place ? Math.max(first, 1) : 0;
    choice.setAttribute("aria-label", place ? "and" : "compare");
    choice.addEventListener("change", show);
    return choice;
  });
  function show() {
    const columns = choices.map((choice) => Number(choice.value) + 1);
    let num = 0;
    for (const row of table.rows) {
      [...row.cells].forEach((cell, at) => { cell.hidden = at > 0 && !columns.includes(at); });
      if (row.parentElement.tagName === "THEAD") continue;
      row.hidden = row.cells[columns[0]].textContent === row.cells[columns[1]].textContent;
      num += row.hidden ? 0 : 1;
    }
    told.textContent = num ? `They differ in ${num}.` : "They don't differ in their settings.";
  }
  const told = make("span", {});
  told.setAttribute("role", "status");
  table.closest(".scroll").before(make("p", { className: "choices" }, "Compare ", choices[0], " and ", choices[1], " ", told));
  show();
}

// What is wider than the page says so.
const wide = new ResizeObserver((entries) => entries.forEach(({ target }) => {
  const outer = target.closest(".scroll");
  outer.previousElementSibling.hidden = outer.scrollWidth <= outer.clientWidth + 2;
}));
for (const outer of document.querySelectorAll(".scroll")) {
  outer.before(make("p", { className: "sideways", textContent: "Wider than here: scroll sideways \u2192", hidden: true }));
  wide.observe(outer);
  if (outer.firstElementChild) wide.observe(outer.firstElementChild);
}

const links = [...document.querySelectorAll("nav a")];
const sections = links.map((link) => document.getElementById(link.hash.slice(1)));
let isWaiting = false;
function markPlace() {
  isWaiting = false;
  const edge = window.innerHeight / 3;
  const isEnd = window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 2;
  let at = window.scrollY > 0 ? sections.findLastIndex((one) => one.getBoundingClientRect().top <= edge) : 0;
  if (isEnd && window.scrollY > 0) at = sections.length - 1;
  links.forEach((link, place) => {
    const isHere = place === Math.max(at, 0);
    if (isHere === link.hasAttribute("aria-current")) return;
    link.toggleAttribute("aria-current", isHere);
    if (!isHere) return;
    link.setAttribute("aria-current", "true");
    const list = link.closest("ol");
    list.scrollLeft = link.offsetLeft - list.offsetLeft - 40;
  });
}
addEventListener("scroll", () => {
  if (!isWaiting) requestAnimationFrame(markPlace);
  isWaiting = true;
}, { passive: true });
markPlace();

// Paper opens nothing: all that is folded is printed open.
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  closed.forEach((one) => { one.open = true; });
});
addEventListener("afterprint", () => closed.forEach((one) => { one.open = false; }));
