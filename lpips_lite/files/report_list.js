// The list: which entries are in it, in which order; and the filters.

const CHUNK = 100;  // lines that are added at once

let sorted = 0, descending = metrics[0].direction === "lower";  // a metric's place, or "name" or "state"
let state = "";  // "": any
let visible = [], listing = 0;

function compare(a, b) {
  const sign = descending ? -1 : 1;
  if (sorted === "name") return sign * nameOf(a).localeCompare(nameOf(b));
  if (sorted === "state") return sign * a.state.localeCompare(b.state);
  const x = value(a, sorted), y = value(b, sorted);
  if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);  // no number comes last
  return x === y ? 0 : x < y ? -sign : sign;
}

function isWanted(entry) {
  const words = $("search").value.toLowerCase(), place = +$("bound-metric").value;
  const [least, most] = [$("least").value, $("most").value];
  return (state === "" || entry.state === state)
    && (entry.names.image + " " + entry.names.reference).toLowerCase().includes(words)
    && (least === "" || value(entry, place) >= +least) && (most === "" || value(entry, place) <= +most)
    && groupFilters.every(({column, select}) => select.value === "" || entry.groups[column] === select.value.slice(1));
}

function list() {
  visible = entries.filter(isWanted).sort(compare);
  $("count").textContent = visible.length + " of " + entries.length + " listed";
  for (const {key, cell, button, name} of heads) {
    button.textContent = name + (key === sorted ? (descending ? " ▾" : " ▴") : "");
    cell.ariaSort = key === sorted ? (descending ? "descending" : "ascending") : null;
  }
  for (const button of document.querySelectorAll("[data-state]")) button.ariaPressed = String(button.dataset.state === state);
  $("body").replaceChildren();
  listing += 1;
  append(0, listing);
  const reached = visible.includes(here) ? here : visible[0];  // of the names, Tab reaches one, and arrows the others
  for (const entry of visible) if (entry.anchor) entry.anchor.tabIndex = entry === reached ? 0 : -1;
}

function append(from, call) {  // a long list comes in parts, so that its first lines are there at once
  if (call !== listing) return;
  $("body").append(...visible.slice(from, from + CHUNK).map(entry => entry.line ??= line(entry)));
  if (from + CHUNK < visible.length) setTimeout(append, 0, from + CHUNK, call);
}

function line(entry) {
  entry.anchor = make("a", {href: link(entry), textContent: nameOf(entry), title: entry.names.reference, tabIndex: -1});
  if (entry === here || (here === null && entry === visible[0])) entry.anchor.tabIndex = 0;
  const cells = [make("td", {}, ...thumb(entry), entry.anchor, make("small", {className: entry.state, textContent: entry.reasons.join("; ")}))];
  if (hasStates) cells.push(make("td", {}, make("span", {className: "badge " + entry.state, textContent: entry.state})));
  cells.push(...metrics.map((metric, place) => make("td", {textContent: text(entry, place)})));
  const row = make("tr", {onclick: event => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    show(entry);
  }}, ...cells);
  row.classList.toggle("here", entry === here);
  return row;
}

const coming = new IntersectionObserver(found => {  // small pictures of lines are loaded when they come into view
  for (const {target, isIntersecting} of found) if (isIntersecting) {
    coming.unobserve(target);
    address(target.place).then(picture => target.src = picture);
  }
}, {rootMargin: "200px"});

function thumb(entry) {
  if (entry.image === undefined) return [];
  const picture = make("img", {className: "thumb", alt: "", place: entry.thumb ?? entry.image});
  coming.observe(picture);
  return [picture];
}

function mark(before, entry) {
  before?.line?.classList.remove("here");
  if (before?.anchor) before.anchor.tabIndex = -1;
  entry.line?.classList.add("here");
  if (entry.anchor) entry.anchor.tabIndex = 0;
}

function bring(row) {  // into the part of the list that is seen; the page stays where it is
  const box = document.querySelector(".list"), head = $("head").offsetHeight;
  box.scrollTop = Math.min(Math.max(box.scrollTop, row.offsetTop + row.offsetHeight - box.clientHeight), row.offsetTop - head);
}

function step(by) {
  if (!visible.length) return;
  const place = visible.indexOf(here) + by, focused = document.activeElement === here?.anchor;
  show(visible[Math.min(Math.max(place, 0), visible.length - 1)], {scroll: true});
  if (focused) here.anchor?.focus({preventScroll: true});
}

// -- heads and filters ------------------------------------------------------------------------------------------------

function head(key, name, title, direction) {
  const button = make("button", {type: "button", title, onclick: () => {
    descending = key === sorted ? !descending : direction === "lower";
    sorted = key;
    list();
  }});
  return {key, name, button, cell: make("th", {scope: "col"}, button)};
}

const heads = [
  head("name", "image", "", "higher"),
  ...(hasStates ? [head("state", "state", "", "higher")] : []),
  ...metrics.map((metric, place) => head(place, metric.name, metric.title, metric.direction)),
];
$("head").replaceChildren(...heads.map(({cell}) => cell));

const groupFilters = data.columns.map(column => {
  const values = [...new Set(entries.map(entry => entry.groups[column]).filter(found => found !== undefined))].sort();
  const options = values.map(found => make("option", {value: "=" + found, textContent: found}));
  const select = make("select", {ariaLabel: column, onchange: list}, make("option", {value: "", textContent: "any " + column}), ...options);
  $("reset").before(select);
  return {column, select};
});

function reset() {
  state = "";
  for (const field of $("filters").querySelectorAll("input")) field.value = "";
  for (const {select} of groupFilters) select.value = "";
  list();
}
