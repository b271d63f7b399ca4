"use strict";
// What the page knows: numbers, names and pictures of entries, which are pairs or files without a partner.

const $ = id => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const {metrics, entries} = data;
const hasStates = new Set(entries.map(entry => entry.state)).size > 1 || entries.some(entry => entry.state === "failed");

const infinities = {inf: Infinity, "-inf": -Infinity};

function value(entry, place) {  // NaN stands for no number
  const number = entry.numbers[place];
  return typeof number === "number" ? number : infinities[number] ?? NaN;
}

function text(entry, place) {
  const number = value(entry, place);
  const {decimals} = metrics[place];
  if (number && decimals && Math.abs(number) < 0.5 * 10 ** -decimals) return number.toExponential(1);
  if (Number.isFinite(number)) return number.toFixed(decimals);
  return Number.isNaN(number) ? "–" : number > 0 ? "∞" : "−∞";
}

const nameOf = entry => entry.names.image || entry.names.reference;

function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

// Pictures stand further down in the page than this script: the first are there soon, the last when all has been read.
async function address(place) {
  for (;;) {
    const node = $("picture-" + place);
    if (node && (node.nextElementSibling || document.readyState !== "loading")) return "data:image/webp;base64," + node.textContent;
    await new Promise(again => setTimeout(again, 20));
  }
}

const loaded = new Map();  // place -> promise of an image, of the last few

function load(place) {
  if (!loaded.has(place)) {
    loaded.set(place, (async () => {
      const image = new Image();
      image.src = await address(place);
      await image.decode();
      return image;
    })());
    if (loaded.size > 24) loaded.delete(loaded.keys().next().value);
  }
  return loaded.get(place);
}

// A link to a pair: its image, its reference where the image is in several pairs, and a number where both are.
const alike = new Map();  // name -> entries
for (const entry of entries) alike.set(nameOf(entry), alike.get(nameOf(entry)) ?? []).get(nameOf(entry)).push(entry);
const ofReference = (found, name) => found.filter(entry => entry.names.reference === name);

function link(entry) {
  const parts = {pair: nameOf(entry)}, found = alike.get(parts.pair), same = ofReference(found, entry.names.reference);
  if (found.length > 1) parts.reference = entry.names.reference;
  if (same.length > 1) parts.number = same.indexOf(entry) + 1;
  return "#" + new URLSearchParams(parts);
}

function linked() {  // the entry that the address names; null: none is named, undefined: it is not on the page
  const parts = new URLSearchParams(location.hash.slice(1));
  if (!parts.has("pair")) return null;
  const found = alike.get(parts.get("pair")) ?? [], same = ofReference(found, parts.get("reference"));
  return same[parts.get("number") - 1] ?? same[0] ?? found[0];
}
