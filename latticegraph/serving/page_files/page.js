"use strict";

const byId = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
// Blue and orange differ for every kind of colour blindness; the middle is the ground of the page.
const COLOURS = {
  light: { low: [5, 88, 158], middle: [247, 247, 247], high: [179, 88, 6] },
  dark: { low: [90, 175, 255], middle: [32, 36, 42], high: [255, 160, 70] },
};
const dark = window.matchMedia("(prefers-color-scheme: dark)");
let served = null;
let shown = null;

function draw(name, attributes, parent, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

function picture(width, height, label, place) {
  const made = document.createElementNS(SVG, "svg");
  made.setAttribute("viewBox", `0 0 ${width} ${height}`);
  made.setAttribute("role", "img");
  made.setAttribute("aria-label", label);
  place.replaceChildren(made);
  return made;
}

function colour(value, largest) {
  const { low, middle, high } = COLOURS[dark.matches ? "dark" : "light"];
  const share = largest > 0 ? Math.max(-1, Math.min(1, value / largest)) : 0;
  const end = share < 0 ? low : high;
  const mixed = middle.map((m, i) => Math.round(m + (end[i] - m) * Math.abs(share)));
  return `rgb(${mixed.join(",")})`;
}

function short(value) {
  return (value < 0 ? "−" : "") + Math.abs(value).toPrecision(3);
}

// A code as the face of the cube: its numbers are in row-major order of the cells.
function drawCode(place, code, largest, title) {
  const [rows, columns] = served.face;
  const [down, across] = served.face_axes;
  const size = Math.min(40, 320 / Math.max(rows, columns));
  const left = 52, bottom = 46;
  const svg = picture(left + columns * size + 8, rows * size + bottom, `Code of: ${title}`, place);
  code.forEach((value, index) => {
    const row = Math.floor(index / columns), column = index % columns;
    const cell = draw("rect", {
      x: left + column * size, y: row * size, width: size, height: size,
      fill: colour(value, largest), class: "cell",
    }, svg);
    draw("title", {}, cell, `${down} ${row}, ${across} ${column}: ${short(value)}`);
  });
  draw("rect", { x: left, y: 0, width: columns * size, height: rows * size, class: "frame" }, svg);
  const every = Math.ceil(Math.max(rows, columns) / 8);
  for (let column = 0; column < columns; column += every) {
    draw("text", { x: left + (column + 0.5) * size, y: rows * size + 17, "text-anchor": "middle" }, svg, column);
  }
  for (let row = 0; row < rows; row += every) {
    draw("text", { x: left - 8, y: (row + 0.5) * size + 5, "text-anchor": "end" }, svg, row);
  }
  const middle = rows * size / 2;
  draw("text", { x: left + columns * size / 2, y: rows * size + 38, "text-anchor": "middle" }, svg, label(across));
  draw("text", { x: 14, y: middle, "text-anchor": "middle", transform: `rotate(-90 14 ${middle})` }, svg, label(down));
}

function label(axis) {
  return axis.length === 1 ? `cell along ${axis}` : axis;
}

function drawScale(largest) {
  const steps = 41, width = 8, left = 26;
  const svg = picture(left * 2 + steps * width, 62, `Colours from ${short(-largest)} to ${short(largest)}`, byId("scale"));
  for (let step = 0; step < steps; step += 1) {
    const value = largest * (2 * step / (steps - 1) - 1);
    draw("rect", { x: left + step * width, y: 0, width: width + 0.5, height: 18, fill: colour(value, largest) }, svg);
  }
  draw("rect", { x: left, y: 0, width: steps * width, height: 18, class: "frame" }, svg);
  for (const [share, value] of [[0, -largest], [0.5, 0], [1, largest]]) {
    const text = value === 0 ? "0" : short(value);
    draw("text", { x: left + share * steps * width, y: 34, "text-anchor": "middle" }, svg, text);
  }
  draw("text", { x: left + steps * width / 2, y: 54, "text-anchor": "middle" }, svg, "number of the code (no unit)");
}

function showCosine(name, value) {
  byId(`${name}-cosine`).textContent = (value < 0 ? "−" : "") + Math.abs(value).toFixed(3);
  const bar = byId(`${name}-bar`);
  bar.style.left = `${50 + 50 * Math.min(0, value)}%`;
  bar.style.width = `${50 * Math.abs(value)}%`;
}

function showNearest(place, found) {
  place.replaceChildren();
  if (!found) return;
  const head = document.createElement("p");
  head.className = "note";
  head.textContent = `Nearest of ${served.bank.toLocaleString("en")} texts to what the cube predicts (cosine):`;
  const list = document.createElement("ol");
  for (const near of found) {
    const item = document.createElement("li");
    const cosine = document.createElement("span");
    cosine.textContent = ` ${near.cosine.toFixed(3)}`;
    item.append(near.text, cosine);
    list.append(item);
  }
  place.append(head, list);
}

function show() {
  const { texts, answer } = shown;
  const largest = Math.max(...answer.codes.flat().map(Math.abs));
  ["first", "second"].forEach((name, index) => {
    byId(`${name}-caption`).textContent = texts[index];
    drawCode(byId(`${name}-code`), answer.codes[index], largest, texts[index]);
    showNearest(byId(`${name}-nearest`), answer.nearest && answer.nearest[index]);
  });
  showCosine("teacher", answer.teacher_cosine);
  showCosine("cube", answer.cube_cosine);
  drawScale(largest);
  byId("code-note").textContent =
    `All that the cube is told of a sentence: ${served.code} numbers, one per cell of its front face. Both pictures have one scale.`;
  byId("result").hidden = false;
}

function say(text, isError) {
  byId("status").textContent = text;
  byId("status").classList.toggle("error", Boolean(isError));
}

async function compare(event) {
  event.preventDefault();
  const texts = [byId("first").value, byId("second").value];
  const headers = { "Content-Type": "application/json" };
  if (served.needs_key) headers.Authorization = `Bearer ${byId("key").value}`;
  byId("go").disabled = true;
  say("Computing …");
  const start = performance.now();
  try {
    const response = await fetch("compare", { method: "POST", headers, body: JSON.stringify({ texts }) });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error.message);
    shown = { texts, answer };
    show();
    say(`${answer.usage.total_tokens} tokens, ${Math.round(performance.now() - start)} ms`);
  } catch (error) {
    say(error.message, true);
  } finally {
    byId("go").disabled = false;
  }
}

async function start() {
  try {
    served = await (await fetch("info")).json();
  } catch {
    say("The server does not answer.", true);
    byId("go").disabled = true;
    return;
  }
  document.title = `${served.model} · latticegraph`;
  byId("about").textContent =
    `Model ${served.model}: ${served.lattice.join(" × ")} cells, ${served.embedding} numbers of ${served.teacher} through ${served.code}.`;
  byId("key-field").hidden = !served.needs_key;
  byId("form").addEventListener("submit", compare);
  document.body.dataset.ready = "true";
}

dark.addEventListener("change", () => { if (shown) show(); });
start();
