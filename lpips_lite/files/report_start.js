// The histogram, the keys, and what happens first.

function drawHistogram() {
  const place = +$("metric").value, {decimals, histogram: {counts, low, high}} = metrics[place];
  const top = Math.max(...counts, 1), wide = 360 / Math.max(counts.length, 1);
  const number = here ? value(here, place) : NaN;
  const at = !Number.isFinite(number) ? -1 : low === high ? 0 : Math.min(counts.length - 1, Math.floor((number - low) / (high - low) * counts.length));
  const part = (tag, attributes, words = "") => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, v] of Object.entries(attributes)) node.setAttribute(key, v);
    node.textContent = words;
    return node;
  };
  const label = (x, anchor, words) => part("text", {x, y: 94, "text-anchor": anchor}, words);
  const bars = counts.length === 1 ? [part("rect", {x: 170, width: 20, y: 4, height: 76, class: at === 0 ? "here" : ""})]
    : counts.map((n, i) => part("rect", {x: i * wide, width: Math.max(wide - 1, 1), y: 80 - 76 * n / top, height: 76 * n / top, class: i === at ? "here" : ""}));
  const labels = !counts.length ? [label(180, "middle", "no finite values")]
    : low === high ? [label(180, "middle", "all " + low.toFixed(decimals))]
    : [label(0, "start", low.toFixed(decimals)), label(360, "end", high.toFixed(decimals))];
  $("histogram").replaceChildren(...bars, ...labels);
}

const PAN = 40;  // screen pixels for one press
const PANS = {ArrowUp: [0, -PAN], ArrowDown: [0, PAN], ArrowLeft: [-PAN, 0], ArrowRight: [PAN, 0]};

function slide(by) {
  $("slider").value = +$("slider").value + by;
  paint();
}

function action(event) {  // what a key does, or undefined; keys with Ctrl, Alt or Meta are the browser's, always
  const {key, target} = event;
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (key === "Escape") return () => { target.matches("input, select") ? target.blur() : (look("side"), zoomTo(null)); };
  if (target.matches("input:not([type=range]), select, textarea")) return;
  if (key in PANS) {
    if (event.shiftKey || (zoom !== null && target === $("panes"))) return pictures && (() => pan(...PANS[key]));
    if (target.matches("[type=range], .scroll, .list")) return;  // which move by themselves
    if (key === "ArrowUp" || key === "ArrowDown") return () => step(key === "ArrowDown" ? 1 : -1);
    return mode === "slide" ? () => slide(key === "ArrowRight" ? 5 : -5) : undefined;
  }
  if (key === " ") return target.matches("button, a, summary, [type=range]") ? undefined : () => { peeking = true; paint(); };
  return {
    j: () => step(1), k: () => step(-1), 1: () => look("side"), 2: () => look("slide"), 3: () => look("blink"), 4: () => look("difference"),
    "+": () => zoomBy(1), "=": () => zoomBy(1), "-": () => zoomBy(-1), 0: () => zoomTo(null),
  }[key];
}

document.addEventListener("keydown", event => {
  const act = action(event);
  if (act && here) { event.preventDefault(); act(); }
});
document.addEventListener("keyup", event => { if (event.key === " " && peeking) { peeking = false; paint(); } });

async function copy() {
  try {
    await navigator.clipboard.writeText(location.href);
    $("copy").textContent = "Copied";
  } catch {
    $("copy").textContent = "The link is in the address bar";
  }
  setTimeout(() => $("copy").textContent = "Copy link", 2000);
}

function follow() {  // what the address names
  const entry = linked();
  if (entry) show(entry, {scroll: true});
  if (entry === undefined) $("trouble").textContent = "No such pair on this page: " + new URLSearchParams(location.hash.slice(1)).get("pair");
  return entry;
}

for (const button of document.querySelectorAll("[data-mode]")) button.onclick = () => look(button.dataset.mode);
for (const button of document.querySelectorAll("[data-state]")) button.onclick = () => { state = button.dataset.state; list(); };
for (const id of ["metric", "bound-metric"]) $(id).append(...metrics.map((metric, place) => make("option", {value: place, textContent: metric.name})));
for (const id of ["search", "least", "most"]) $(id).oninput = list;
for (const id of ["amplify", "scale"]) $(id).onchange = paint;
$("slider").oninput = paint;
$("bound-metric").onchange = list;
$("metric").onchange = drawHistogram;
$("reset").onclick = reset;
$("previous").onclick = () => step(-1);
$("next").onclick = () => step(1);
$("copy").onclick = copy;
$("flip").onclick = flip;
$("in").onclick = () => zoomBy(1);
$("out").onclick = () => zoomBy(-1);
$("fit").onclick = () => zoomTo(null);
$("full").onclick = () => zoomTo(1);
$("panes").addEventListener("pointerdown", dragging);
$("panes").addEventListener("dblclick", whole);
$("legend").style.background = "linear-gradient(to right," + [0, 51, 102, 153, 204, 255].map(at => `rgb(${colors.subarray(3 * at, 3 * at + 3)})`) + ")";
new ResizeObserver(paint).observe($("panes"));
still.addEventListener("change", () => look(mode));
addEventListener("hashchange", follow);

list();
if (!entries.length) $("viewer").hidden = true;
drawHistogram();
if (!follow() && visible.length) show(visible[0], {rename: false});
