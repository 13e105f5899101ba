// Sorts a table by the header that is pressed, and hides rows whose first cell lacks what is typed.
const table = document.querySelector("table.sortable");
const body = table.tBodies[0];
const rows = [...body.rows];
const heads = [...table.tHead.rows[0].cells];
const key = (row, column) => {
  const cell = row.cells[column];
  return "v" in cell.dataset ? Number(cell.dataset.v) : cell.textContent;
};
const order = (a, b) => {
  if (typeof a === "string") return a.localeCompare(b, undefined, { numeric: true });
  return a - b;
};
const sort = (column) => {
  const head = heads[column];
  const first = head.classList.contains("n") ? "descending" : "ascending";
  const other = first === "ascending" ? "descending" : "ascending";
  const now = head.getAttribute("aria-sort") === first ? other : first;
  for (const each of heads) each.setAttribute("aria-sort", each === head ? now : "none");
  const sign = now === "ascending" ? 1 : -1;
  const known = (row) => !Number.isNaN(key(row, column));
  const sorted = rows.filter(known).sort((a, b) => sign * order(key(a, column), key(b, column)));
  body.append(...sorted, ...rows.filter((row) => !known(row))); // what is not known stays below
};
heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => sort(column)));
const filter = document.querySelector("#filter");
const shown = document.querySelector("#shown");
const apply = () => {
  const wanted = filter.value.trim().toLowerCase();
  let count = 0;
  for (const row of rows) {
    row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
    count += !row.hidden;
  }
  shown.textContent = `${count.toLocaleString("en")} of ${rows.length.toLocaleString("en")} shown`;
};
if (filter) {
  filter.addEventListener("input", apply);
  apply();
}
