"use strict";
const $ = id => document.getElementById(id);
const config = JSON.parse($("config").textContent);
const stage = $("stage"), buttons = [...document.querySelectorAll("[data-answer]")];
const places = config.mode === "same" ? ["left", "right"] : ["ref", "left", "right"];
const keys = config.mode === "same" ? {ArrowLeft: "same", ArrowRight: "different"}
  : {ArrowLeft: "left", ArrowRight: "right", ...(config.ties && {ArrowUp: "tie"})};
const pictures = new Map();  // key of a trial -> promise of its pictures, by place
let trial = null, shownAt = 0, flips = 0, ready = false, fits = true;

const pause = seconds => new Promise(done => setTimeout(done, 1000 * seconds));

// -- the server ------------------------------------------------------------------------------------------------------

function trouble(words) {
  $("trouble").hidden = !words;
  $("trouble").textContent = words;
}

/** Ask until there is an answer; a vote sent twice counts once. Throws an error if the server refuses. */
async function ask(path, body) {
  const request = body === undefined ? {} : {method: "POST", body: JSON.stringify(body), headers: {"Content-Type": "application/json"}};
  for (let wait = 0.3; ; wait = Math.min(2 * wait, 5)) {
    let answer = null;
    try { answer = await fetch(path, {...request, credentials: "same-origin"}); } catch { /* no connection */ }
    if (answer?.ok) { trouble(""); return answer; }
    if (answer && answer.status < 500 && answer.status !== 429 && answer.status !== 408)
      throw new Error((await answer.json().catch(() => ({}))).error ?? "the server said " + answer.status);
    if (wait > 0.5) trouble(answer ? "The server cannot save right now. Please wait; this page keeps trying."
      : "No connection to the server. Please wait; this page keeps trying.");
    await pause(wait);
  }
}

const current = async () => (await ask("api/state")).json();
const post = async (path, body = {}) => (await ask(path, body)).json();

function guarded(work) {
  return async (...given) => {
    try { await work(...given); }
    catch (error) { trouble("That did not work: " + error.message + ". Reloading this page may help."); }
  };
}

// -- what is shown ---------------------------------------------------------------------------------------------------

function look(name) {
  for (const id of ["welcome", "trial", "thanks"]) $(id).hidden = id !== name;
  document.body.classList.toggle("looking", name === "trial");
}

function take(state) {
  if (state.state === "welcome") { trial = null; return look("welcome"); }
  if (state.state === "thanks") {
    $("given").textContent = state.done;
    $("rater").textContent = state.rater;
    look("thanks");
    $("thanks").querySelector("h1").focus();
    return;
  }
  $("count").textContent = state.done + 1 + " of " + state.total;
  $("progress").value = state.done / state.total;
  for (const {key} of state.trials) load(key);
  for (const key of pictures.keys()) if (!state.trials.some(other => other.key === key)) drop(key);
  look("trial");
  return show(state.trials[0]);
}

function load(key) {
  if (!pictures.has(key)) pictures.set(key, Promise.all(places.map(async place => {
    const blob = await (await ask("image/" + key + "/" + place)).blob();
    return [place, URL.createObjectURL(blob)];
  })).then(Object.fromEntries));
  return pictures.get(key);
}

async function drop(key) {
  const found = pictures.get(key);
  pictures.delete(key);
  for (const address of Object.values(await found.catch(() => ({})))) URL.revokeObjectURL(address);
}

async function show(next) {
  trial = next;
  wait(true);
  const at = await load(next.key);
  const image = (id, kind, place) => Object.assign(document.querySelector("#" + id + " ." + kind), {src: at[place]});
  const shown = config.mode === "same"
    ? [image("left", "image", "left"), image("left", "other", "right"), image("right", "image", "right"), image("right", "other", "left")]
    : [image("left", "image", "left"), image("left", "other", "ref"), image("middle", "image", "ref"), image("right", "image", "right"), image("right", "other", "ref")];
  await Promise.all(shown.map(picture => picture.decode()));
  if (trial !== next) return;
  flips = 0;
  flip(false);
  lay();
  wait(false);
  await new Promise(painted => requestAnimationFrame(() => requestAnimationFrame(painted)));
  shownAt = performance.now();
  ready = true;
}

function wait(on) {
  if (on) ready = false;
  stage.classList.toggle("waiting", on);
  for (const button of [...buttons, $("flip")]) button.disabled = on;
}

/** One pixel of an image is one pixel of the screen; in narrow windows the original is shown in place of the others. */
function lay() {
  const ratio = window.devicePixelRatio || 1, gap = parseFloat(getComputedStyle(stage).gap) || 0;
  for (const picture of stage.querySelectorAll("img")) {
    picture.style.width = picture.naturalWidth / ratio + "px";
    picture.style.height = picture.naturalHeight / ratio + "px";
  }
  const first = stage.querySelector("#left .image"), wide = first.naturalWidth / ratio, room = stage.clientWidth;
  if ($("middle")) $("middle").hidden = config.view === "flip" || 3 * wide + 2 * gap > room;
  const high = first.naturalHeight / ratio, space = window.innerHeight - document.querySelector(".answers").offsetHeight - 60;
  fits = 2 * wide + gap <= room + 1 && high <= space;
  const words = [];
  if (!fits) words.push("The images are larger than this window. Use a larger window or screen to see all of them, or scroll.");
  if (zoomed()) words.push("This page is zoomed. Please set the zoom to 100 %, so that images are shown in their true size.");
  $("note").textContent = words.join(" ");
  $("note").hidden = !words.length;
}

function zoomed() {
  const pinched = Math.abs((window.visualViewport?.scale ?? 1) - 1) > 0.01;
  const share = window.innerWidth / window.outerWidth;
  return pinched || (matchMedia("(pointer: fine)").matches && window.outerWidth > 0 && (share > 1.15 || share < 0.85));
}

function flip(on = !stage.classList.contains("flipped")) {
  if (on) flips += 1;
  stage.classList.toggle("flipped", on);
  $("flip").ariaPressed = String(on);
}

// -- answers ---------------------------------------------------------------------------------------------------------

const vote = guarded(async (choice, touch) => {
  if (!ready) return;
  const milliseconds = Math.round(performance.now() - shownAt), {key, practice} = trial;
  wait(true);
  stage.classList.remove("waiting");  // the images stay until the answer is saved
  $("status").textContent = "";
  const screen = {width: window.innerWidth, height: window.innerHeight, pixel_ratio: window.devicePixelRatio || 1, fits, zoomed: zoomed(), flips, touch};
  const state = await post("api/vote", {trial: key, choice, milliseconds, screen, page: config.page});
  const words = config.mode === "same" ? ["That is right.", "Not quite: look closely."]
    : ["That is right: it was the original itself.", "Not quite: the other one was the original itself."];
  const said = state.practice === undefined ? "" : words[state.practice ? 0 : 1];
  const next = state.trials[0]?.practice ? " Practice continues." : practice ? " Practice is over; from now on your answers count." : "";
  $("status").textContent = said + next;
  if (document.activeElement !== document.body) stage.focus({preventScroll: true});
  await take(state);
});

for (const button of buttons)
  button.onclick = event => vote(button.dataset.answer, event.pointerType === "touch");
$("flip").onclick = () => { if (ready) flip(); };
document.addEventListener("keydown", event => {
  if ($("trial").hidden || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
  const space = event.key === " " && event.target.tagName !== "BUTTON";
  if (!(event.key in keys) && !space) return;
  event.preventDefault();
  if (event.repeat || !ready) return;
  if (space) flip(); else vote(keys[event.key], false);
});
const again = () => { if (ready) lay(); };
window.addEventListener("resize", again);
window.visualViewport?.addEventListener("resize", again);

// -- coming and going ------------------------------------------------------------------------------------------------

$("begin").onclick = guarded(async () => {
  $("begin").disabled = true;
  try {
    const state = $("again").hidden ? await post("api/join", {consent: true}) : await current();
    $("status").textContent = state.trials[0]?.practice ? "Practice first: these answers do not count." : "";
    await take(state);
    $("question").focus();
  } finally { $("begin").disabled = false; }
});
const leave = path => guarded(async () => {
  await post(path);
  $("again").hidden = $("else").hidden = true;
  take({state: "welcome"});
});
$("else").onclick = $("next-person").onclick = leave("api/leave");
$("forget").onclick = leave("api/forget");

guarded(async () => {
  const state = await current();
  if (state.state !== "vote") return take(state);
  $("again-done").textContent = state.done;
  $("again").hidden = $("else").hidden = false;
  look("welcome");
})();
