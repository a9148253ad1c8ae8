// The page of tables: unpacks a chosen table, sorts and filters its rows, and keeps those in sight
// in the page. All text reaches the page as text, never as markup.
"use strict";
const {rooms, digits} = JSON.parse(document.getElementById("data").textContent);
const tables = new Map(Object.values(rooms).flat().map((table) => [table.name, table]));
const part = (id) => document.getElementById(id);
const [area, search] = [part("rows"), part("search")];
const [group, head, body] = ["colgroup", "thead tr", "tbody"].map((tag) => area.querySelector(tag));
const HEIGHT = 24;  // of a row, as the style has it
const BEYOND = 10;  // rows above and below those in sight
const WIDEST = 120;  // letters of a column; a longer text is cut, and whole under the pointer
const ORDER = new Intl.Collator("en", {numeric: true});  // 5, 10, 20x50
const SIGNS = {ascending: " ▲", descending: " ▼", none: ""};
let shown = null;  // the table in sight

function make(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function count(n, of) {
  return `${n.toLocaleString("en")} ${of}${n === 1 ? "" : "s"}`;
}

async function unpack(table) {
  const bytes = Uint8Array.from(atob(table.cells), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const columns = await new Response(stream).json();
  return columns.map((text) => table.shown === 0 ? [] : text.split("\n"));
}

function toNumber(text) {
  if (text === "") return NaN;
  return text.endsWith("inf") ? (text[0] === "-" ? -Infinity : Infinity) : Number(text);
}

// the values of a column, by which it is sorted and compared
function values(place) {
  shown.values[place] ??= shown.columns[place].number
    ? Float64Array.from(shown.cells[place], toNumber) : shown.cells[place];
  return shown.values[place];
}

function sorted(rows) {
  const {place, direction} = shown.sort;
  if (direction === "none") return rows;
  const [column, sign] = [values(place), direction === "ascending" ? 1 : -1];
  const isMissing = shown.columns[place].number ? Number.isNaN : (text) => text === "";
  const there = rows.filter((row) => !isMissing(column[row]));
  const compare = shown.columns[place].number
    ? (a, b) => column[a] === column[b] ? 0 : column[a] - column[b]
    : (a, b) => ORDER.compare(column[a], column[b]);
  // the sort is stable; missing values are last in both directions
  return there.sort((a, b) => sign * compare(a, b)).concat(
    rows.filter((row) => isMissing(column[row])));
}

const COMPARE = {
  "<": (a, b) => a < b, ">": (a, b) => a > b, "=": (a, b) => a === b,
  "<=": (a, b) => a <= b, ">=": (a, b) => a >= b,
};

// whether a row passes the filter of a column, in small letters: `> 0.5`, `>= 1 < 2`, `= high`, or a
// part of the text
function test(place, text) {
  const {number} = shown.columns[place];
  if (/^[<>=\s]*$/.test(text)) return () => true;  // it is still being typed
  const terms = [...text.matchAll(/([<>]=?|=)\s*([^<>=]*[^<>=\s])/g)].map((term) => term.slice(1));
  const compared = (number ? terms : terms.filter(([sign]) => sign === "="))
    .map(([sign, to]) => [COMPARE[sign], number ? toNumber(to) : to]);
  const column = number && compared.length ? values(place) : shown.cells[place];
  const valueOf = (row) => number ? column[row] : column[row].toLowerCase();
  if (compared.length) return (row) => compared.every(([holds, to]) => holds(valueOf(row), to));
  return (row) => shown.cells[place][row].toLowerCase().includes(text);
}

function filtered() {
  let rows = Array.from({length: shown.shown}, (_, row) => row);
  for (const [place, text] of shown.filters.entries()) {
    if (text !== "") rows = rows.filter(test(place, text));
  }
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return rows;
  shown.lines ??= Array.from({length: shown.shown}, (_, row) =>
    shown.cells.map((column) => column[row]).join("\n").toLowerCase());
  return rows.filter((row) => words.every((word) => shown.lines[row].includes(word)));
}

// after another sort, search or filter
function renew() {
  if (shown === null) return;
  shown.rows = sorted(filtered());
  part("count").textContent =
    `${shown.rows.length.toLocaleString("en")} of ${count(shown.shown, "row")}`;
  area.querySelector("table").ariaRowCount = shown.rows.length + 1;
  area.scrollTop = 0;
  draw();
}

function draw() {
  if (shown === null) return;
  const {rows, cells, columns} = shown;
  const first = Math.max(0, Math.floor(area.scrollTop / HEIGHT) - BEYOND);
  const last = Math.min(rows.length, first + Math.ceil(area.clientHeight / HEIGHT) + 2 * BEYOND);
  const space = (n) => {
    const row = make("tr", {ariaHidden: "true"});
    row.style.height = `${n * HEIGHT}px`;
    return row;
  };
  body.replaceChildren(space(first), ...rows.slice(first, last).map((row, i) =>
    make("tr", {ariaRowIndex: first + i + 2}, ...cells.map((column, place) => make("td", {
      textContent: column[row], className: columns[place].number ? "number" : "",
      title: column[row].length > WIDEST ? column[row] : "",
    })))), space(rows.length - last));
}

function sortBy(place) {
  const next = {none: "ascending", ascending: "descending", descending: "none"};
  const of = shown.sort.place === place ? shown.sort.direction : "none";
  shown.sort = {place, direction: next[of]};
  for (const [i, cell] of [...head.children].entries()) {
    cell.ariaSort = i === place ? shown.sort.direction : "none";
    cell.querySelector("button").textContent = columnName(i) + SIGNS[cell.ariaSort];
  }
  renew();
}

const columnName = (place) => shown.columns[place].name;

function addColumn(column, place) {
  const longest = shown.cells[place].reduce((most, cell) => Math.max(most, cell.length), 0);
  const width = Math.min(WIDEST, Math.max(longest, column.name.length + 2, 7)) + 2;
  const cell = make("col");
  cell.style.width = `${width}ch`;
  group.append(cell);
  const tell = () => part("meaning").textContent = `${column.name}: ${column.meaning}`;
  const filter = make("input", {
    ariaLabel: `only rows whose ${column.name} has`, placeholder: column.number ? "> 0" : "text",
    oninput: () => { shown.filters[place] = filter.value.trim().toLowerCase(); renew(); },
  });
  head.append(make("th", {ariaSort: "none", scope: "col", onmouseenter: tell},
    make("button", {textContent: column.name, onclick: () => sortBy(place)}), filter));
  head.lastChild.addEventListener("focusin", tell);
  part("columns").append(make("dt", {textContent: column.name}),
    make("dd", {textContent: column.meaning}));
  return width;
}

async function show() {
  const asked = location.hash;
  const table = tables.get(asked.slice(1)) ?? tables.values().next().value;
  for (const link of document.querySelectorAll("nav a")) {
    link.ariaCurrent = link.dataset.name === table.name ? "page" : null;
  }
  const cells = await unpack(table);
  if (asked !== location.hash) return;  // another was chosen meanwhile
  shown = {...table, cells, values: [], filters: table.columns.map(() => ""),
    sort: {place: 0, direction: "none"}};
  for (const place of [group, head, part("columns")]) place.replaceChildren();
  const width = table.columns.map(addColumn).reduce((sum, of) => sum + of, 0);
  area.querySelector("table").style.width = `${width}ch`;
  area.scrollLeft = 0;
  search.value = "";
  part("name").textContent = `${table.name}.csv`;
  const whole = table.shown === table.n ? ""
    : ` These are the first ${count(table.shown, "row")} of ${count(table.n, "row")}.`;
  part("about").textContent = `One row per ${table.row}.${whole} Numbers are rounded to ${digits} `
    + `digits; the file tables/${table.name}.csv has all of them${whole ? ", and all rows" : ""}.`;
  part("meaning").textContent = "Choose a column's name to sort by it. Below it, say which rows to "
    + "keep: a part of the text, or for example = high, > 0.5 or >= 10 < 20.";
  renew();
}

for (const [title, of] of Object.entries(rooms)) {
  if (of.length === 0) continue;
  document.querySelector("nav").append(make("h2", {textContent: title}), ...of.map((table) => {
    const link = make("a", {href: `#${table.name}`}, make("span", {textContent: table.name}),
      make("span", {textContent: table.n.toLocaleString("en")}));
    link.dataset.name = table.name;
    return link;
  }));
}
search.addEventListener("input", renew);
area.addEventListener("scroll", () => requestAnimationFrame(draw));
addEventListener("resize", draw);
if ("DecompressionStream" in window) {
  addEventListener("hashchange", show);
  show();
} else {
  part("about").textContent = "This browser can't unpack the tables: open the page in a newer one, "
    + "of 2023 or later.";
}
