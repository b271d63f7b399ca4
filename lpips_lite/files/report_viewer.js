// The pair that is shown: views, zoom, heatmap, difference, crops. All panes show the same part of the pair.

const MODES = ["side", "slide", "blink", "difference"];
const ZOOMS = [.125, .25, .5, 1, 2, 4, 8, 16, 32];
const SQUARES = 4, LINES = 8;  // zoom from which pixels are squares, and lines divide them
const still = matchMedia("(prefers-reduced-motion: reduce)");
const colors = Uint8Array.from(data.palette.match(/../g), pair => parseInt(pair, 16));  // 256 times red, green, blue

let here = null;      // the entry that is shown
let pictures = null;  // its pictures, when they are loaded
let mode = "side", zoom = null, centre = [0, 0];  // zoom: screen pixels for one of the image; null: as large as fits
let peeking = false, flipped = false, timer = null;

async function show(entry, {scroll = false, rename = true} = {}) {  // rename: let the address name the pair
  mark(here, entry);
  if (here === null || String(here.size) !== String(entry.size)) [zoom, centre] = [null, (entry.size ?? [0, 0]).map(side => side / 2)];
  here = entry;
  pictures = null;
  if (scroll && entry.line?.isConnected) bring(entry.line);
  if (rename) history.replaceState(null, "", link(entry));
  $("name").textContent = nameOf(entry);
  $("facts").textContent = facts(entry);
  $("trouble").textContent = entry.reasons.join("; ");
  $("work").hidden = entry.image === undefined;
  drawHistogram();
  if (entry.image === undefined) return;
  cropsOf(entry);
  look(mode);
  const places = [entry.reference, entry.image, ...(entry.map === undefined ? [] : [entry.map])];
  const [reference, image, map] = await Promise.all(places.map(load));
  if (here !== entry) return;  // another one was asked for meanwhile
  pictures = {reference, image, map, colored: null, difference: null};
  paint();
}

function facts(entry) {
  const numbers = metrics.map((metric, place) => metric.name + " " + text(entry, place));
  const parts = entry.numbers.length ? [numbers.join(", ")] : [];
  if (entry.names.image && entry.names.reference) parts.push("reference " + entry.names.reference);
  if (entry.size) {
    const [size, shown] = [entry.size, entry.shown].map(side => side.join("×"));
    parts.push(size, "pictures " + (size === shown ? "" : "shrunk to " + shown + ", ") + (entry.lossless ? "without loss" : "WebP with loss"));
  }
  return parts.join(" · ");
}

function look(next) {
  mode = next;
  clearInterval(timer);
  timer = null;
  flipped = false;
  for (const button of document.querySelectorAll("[data-mode]")) button.ariaPressed = String(button.dataset.mode === mode);
  $("second-pane").hidden = mode !== "side";
  $("map-pane").hidden = here?.map === undefined;
  $("slider").hidden = mode !== "slide";
  $("flip").hidden = mode !== "blink";
  $("amplifying").hidden = mode !== "difference";
  $("scaling").hidden = here?.map === undefined;
  if (mode === "blink" && !still.matches) timer = setInterval(() => { flipped = !flipped; paint(); }, 500);
  paint();
}

function flip() {  // by hand; from then on by hand only
  clearInterval(timer);
  timer = null;
  flipped = !flipped;
  paint();
}

// -- drawing ----------------------------------------------------------------------------------------------------------

function fitting() {
  const {clientWidth: wide, clientHeight: tall} = $("first");
  return Math.min(wide / here.size[0], tall / here.size[1], LINES);
}

const scale = () => zoom ?? fitting();

function paint() {
  if (pictures === null) return;
  arrange();
  const seen = peeking || flipped ? "reference" : "image";
  $("first-label").textContent = {
    side: "reference", slide: "reference | image", blink: seen,
    difference: `|image − reference| × ${$("amplify").value}` + (here.lossless ? "" : ", of the pictures as encoded"),
  }[mode];
  $("second-label").textContent = seen;
  if (mode === "side") {
    draw($("first"), pictures.reference);
    draw($("second"), pictures[seen]);
  } else if (mode === "slide") {
    draw($("first"), pictures.reference);
    if (!peeking) draw($("first"), pictures.image, {from: $("slider").value / 100});
  } else {
    draw($("first"), mode === "difference" ? difference() : pictures[seen]);
  }
  if (pictures.map) {
    draw($("map"), colored(), {smooth: true});
    const largest = $("scale").value === "own" ? here.peak : data.peak;
    $("map-label").textContent = `${here.mapped}, 0 to ${largest.toPrecision(3)}`;
  }
  $("zoom").textContent = Math.round(scale() * 100) + " %";
  $("fit").ariaPressed = String(zoom === null);
  $("full").ariaPressed = String(zoom === 1);
  $("panes").classList.toggle("larger", zoom !== null);
}

function arrange() {  // frames as tall as the pair needs, and canvases of as many pixels as the screen has
  const wide = $("first").clientWidth, tall = wide * here.size[1] / here.size[0];
  $("panes").style.setProperty("--tall", Math.round(Math.min(Math.max(tall, 160), innerHeight * .45)) + "px");
  for (const canvas of $("panes").querySelectorAll("canvas")) {
    canvas.width = canvas.clientWidth * devicePixelRatio;
    canvas.height = canvas.clientHeight * devicePixelRatio;
  }
}

function corner(canvas) {  // where the pair's left upper corner lies in a frame
  const middle = zoom === null ? here.size.map(side => side / 2) : centre, frame = [canvas.clientWidth, canvas.clientHeight];
  const whole = place => Math.round(place * devicePixelRatio) / devicePixelRatio;  // no pixel between two of the screen
  return frame.map((side, axis) => whole(side / 2 - middle[axis] * scale()));
}

function draw(canvas, source, {smooth = false, from = 0} = {}) {
  const context = canvas.getContext("2d"), [left, top] = corner(canvas);
  const [wide, tall] = here.size.map(side => side * scale()), start = left + from * wide;
  context.save();
  context.scale(devicePixelRatio, devicePixelRatio);
  context.beginPath();
  context.rect(start, top, wide, tall);
  context.clip();
  context.imageSmoothingEnabled = smooth || scale() < SQUARES;
  context.imageSmoothingQuality = "high";
  context.drawImage(source, left, top, wide, tall);
  if (!smooth && scale() >= LINES) {
    lines(context, [canvas.clientWidth, canvas.clientHeight], [left, top], [wide, tall], [source.width, source.height]);
  }
  context.restore();
  if (from > 0) context.fillRect(start * devicePixelRatio, top * devicePixelRatio, devicePixelRatio, tall * devicePixelRatio);
}

function lines(context, seen, start, size, counts) {  // between the pixels that are seen
  const ends = start.map((place, axis) => place + size[axis]);
  context.beginPath();
  for (const axis of [0, 1]) {
    const step = size[axis] / counts[axis], first = Math.max(0, Math.floor(-start[axis] / step));
    for (let place = first; place <= counts[axis] && start[axis] + place * step <= seen[axis]; place++) {
      const at = start[axis] + place * step;
      context.moveTo(...(axis === 0 ? [at, start[1]] : [start[0], at]));
      context.lineTo(...(axis === 0 ? [at, ends[1]] : [ends[0], at]));
    }
  }
  context.lineWidth = .5;
  context.strokeStyle = "#8888";
  context.stroke();
}

function pixels(picture) {
  const canvas = make("canvas", {width: picture.width, height: picture.height}), context = canvas.getContext("2d", {willReadFrequently: true});
  context.drawImage(picture, 0, 0);
  return [canvas, context, context.getImageData(0, 0, canvas.width, canvas.height)];
}

function colored() {  // a map is stored as shares of its own peak; where it is transparent, it has no value
  const factor = $("scale").value === "own" ? 1 : here.peak / (data.peak || 1);
  if (pictures.colored?.factor === factor) return pictures.colored.canvas;
  const [canvas, context, found] = pixels(pictures.map), bytes = found.data;
  for (let at = 0; at < bytes.length; at += 4) {
    const color = bytes[at + 3] < 128 ? data.unknown : colors.subarray(3 * Math.round(bytes[at] * factor));
    [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]] = [color[0], color[1], color[2], 255];
  }
  context.putImageData(found, 0, 0);
  pictures.colored = {factor, canvas};
  return canvas;
}

function difference() {
  const factor = +$("amplify").value;
  if (pictures.difference?.factor === factor) return pictures.difference.canvas;
  const [canvas, context, found] = pixels(pictures.image), other = pixels(pictures.reference)[2].data, bytes = found.data;
  for (let at = 0; at < bytes.length; at++) bytes[at] = at % 4 === 3 ? 255 : factor * Math.abs(bytes[at] - other[at]);
  context.putImageData(found, 0, 0);
  pictures.difference = {factor, canvas};
  return canvas;
}

// -- zoom and panning -------------------------------------------------------------------------------------------------

function zoomTo(next, at = centre) {
  if (!here.size) return;  // it has no pictures
  if (zoom === null && at === centre) at = here.size.map(side => side / 2);
  zoom = next;
  centre = at.map((place, axis) => Math.min(Math.max(place, 0), here.size[axis]));
  paint();
}

function zoomBy(step) {
  if (!here.size) return;
  const now = scale(), larger = ZOOMS.find(level => level > now * 1.001), smaller = ZOOMS.findLast(level => level < now * .999);
  zoomTo((step > 0 ? larger : smaller) ?? now);
}

function pan(across, down) {
  if (zoom === null) zoomTo(scale());
  zoomTo(zoom, [centre[0] + across / zoom, centre[1] + down / zoom]);
}

function dragging(event) {
  if (event.button !== 0 || !event.target.matches("canvas")) return;
  let [x, y] = [event.clientX, event.clientY];
  const canvas = event.target, sliding = mode === "slide" && zoom === null && canvas === $("first");
  if (zoom === null && !sliding) return;
  canvas.setPointerCapture(event.pointerId);
  const move = next => {
    if (sliding) {
      const [left] = corner(canvas), at = next.clientX - canvas.getBoundingClientRect().left;
      $("slider").value = 100 * (at - left) / (here.size[0] * scale());
      paint();
    } else {
      pan(x - next.clientX, y - next.clientY);
    }
    [x, y] = [next.clientX, next.clientY];
  };
  const end = () => canvas.removeEventListener("pointermove", move);
  canvas.addEventListener("pointermove", move);
  for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, end, {once: true});
}

function whole(event) {  // a double click: there and back
  if (!event.target.matches("canvas")) return;
  if (zoom !== null) return zoomTo(null);
  const frame = event.target.getBoundingClientRect(), [left, top] = corner(event.target), now = scale();
  zoomTo(now < 1 ? 1 : SQUARES, [(event.clientX - frame.left - left) / now, (event.clientY - frame.top - top) / now]);
}

// -- crops ------------------------------------------------------------------------------------------------------------

function cropsOf(entry) {
  $("crops").replaceChildren(...entry.crops.map(({picture, at, side, value}) => {
    const factor = Math.max(1, Math.round(96 / side)), words = `${at[0]}, ${at[1]}: ${value.toPrecision(3)}`;
    const image = make("img", {width: 2 * side * factor, height: side * factor, alt: `reference and image at ${words}`});
    address(picture).then(found => image.src = found);
    const centred = at.map(place => place + side / 2);
    return make("button", {
      type: "button", title: "reference | image without loss; press to look closer",
      onclick: () => zoomTo(SQUARES, centred),
    }, make("span", {className: "strip"}, image), make("span", {textContent: "at " + words}));
  }));
}
