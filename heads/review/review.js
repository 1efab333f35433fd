
"use strict";
// One product at a time. All texts of products and classes become textContent or properties, never markup.
const MOST_CHOICES = 9; // as many as there are digits
const $ = (id) => document.getElementById(id);
const data = document.querySelector(".picks");
const products = [...data.children].map((item) => ({ ...item.dataset, likely: JSON.parse(item.dataset.likely) }));
const places = new Map(products.map((product, place) => [product.product, place]));
const given = JSON.parse(data.dataset.classes);
const earlier = JSON.parse(data.dataset.earlier);
const kept = `embed-once review ${data.dataset.review}`;
const server = data.dataset.save; // where answers are saved, too, if a server shows the page
const AGAIN_MS = 5000; // until answers that a server did not take are sent again
const PATIENCE_MS = 10_000; // with a server that says nothing, for whom all later answers would wait

// What was answered, in its order, [product, label] each; null is a skip. The last answer to a product counts.
let answers = load();
let current = 0;
// What the server has not confirmed, {product: label}, null where a label is taken back.
const unsaved = loadUnsaved();
let turn = Promise.resolve(); // of what is asked of the server, one after the other
let again; // the timer of what is sent again

function load() {
  const every = stored(kept);
  return (Array.isArray(every) ? every : []).filter(([product, label]) => places.has(product) && (label === null || typeof label === "string"));
}

function save() {
  if (!store(kept, answers)) say("This browser keeps nothing: download the labels before you close the page.");
}

// Each stands by itself in what the browser keeps, so that no tab writes over another's.
function unsavedKey(product) {
  return `${kept} unsaved ${product}`;
}

function stored(key) {
  try {
    return JSON.parse(localStorage.getItem(key) ?? "");
  } catch {
    return undefined; // there is none, or the browser keeps nothing
  }
}

function store(key, value) {
  try {
    if (value === undefined) localStorage.removeItem(key);
    else localStorage.setItem(key, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

function loadUnsaved() {
  const every = server ? products.map(({ product }) => [product, stored(unsavedKey(product))]) : [];
  return new Map(every.filter(([, label]) => label === null || typeof label === "string"));
}

// Keep what holds for a product now, here and on the server.
function keep(product) {
  save();
  if (!server) return;
  unsaved.set(product, labels().get(product) ?? null);
  store(unsavedKey(product), unsaved.get(product));
  if (again === undefined) tell("");
  turn = turn.then(send);
}

async function exchange(options) {
  const abandon = new AbortController();
  const timer = setTimeout(() => abandon.abort(), PATIENCE_MS);
  const response = await fetch(server, { ...options, signal: abandon.signal }).catch(() => null);
  const said = await response?.json().catch(() => null);
  clearTimeout(timer);
  if (!response?.ok || !said) throw new Error(said?.error ?? "The server does not answer.");
  return said;
}

// Have the server save what it has not confirmed.
async function send() {
  const sent = [...unsaved];
  if (!sent.length) return;
  await trying(async () => {
    const headers = { "Content-Type": "application/json" };
    await exchange({ method: "POST", headers, body: JSON.stringify({ answers: sent }) });
    for (const [product, label] of sent) {
      if (unsaved.get(product) !== label) continue; // it was answered anew meanwhile
      unsaved.delete(product);
      if (stored(unsavedKey(product)) === label) store(unsavedKey(product)); // else another tab's
    }
  });
}

// Take over what the server has, of another tab or of the day before; then show where one stopped.
async function receive() {
  await trying(async () => {
    const saved = Object.entries((await exchange()).answers).filter(([product]) => places.has(product));
    const known = new Map(saved);
    const mine = answers.filter(([product, label]) => unsaved.has(product) || (known.get(product) ?? null) === label);
    const answered = new Map(mine);
    const others = saved.filter(([product]) => !answered.has(product) && !unsaved.has(product));
    if (others.length || mine.length < answers.length) {
      answers = [...others, ...mine];
      save();
      show(answers.length && labels().has(products[current]?.product) ? next() : current);
    }
  });
}

// Do something with the server, say how it went, and do again later what it did not take.
async function trying(work) {
  let trouble = "";
  try {
    await work();
  } catch (error) {
    trouble = error.message;
    again ??= setTimeout(() => { again = undefined; sync(); }, AGAIN_MS);
  }
  tell(trouble);
}

function tell(trouble) {
  const waiting = unsaved.size === 1 ? "1 answer is" : `${unsaved.size} answers are`;
  const kept = unsaved.size ? `${waiting} kept in this browser and sent again.` : "";
  $("saving").classList.toggle("bad", trouble !== "");
  if (trouble) $("saving").textContent = `Not saved. ${trouble} ${kept}`;
  else $("saving").textContent = unsaved.size ? "Saving …" : `Saved in ${data.dataset.file}.`;
}

function sync() {
  turn = turn.then(send).then(receive);
}

const labels = () => new Map(answers);
const say = (text) => { $("said").textContent = text; };

function make(name, text, marks = []) {
  const element = document.createElement(name);
  element.textContent = text;
  element.classList.add(...marks);
  if (name === "button") element.type = "button";
  return element;
}

function classes() {
  return [...new Set([...given, ...answers.map(([, label]) => label).filter((label) => label !== null)])];
}

function choicesOf(product) {
  const every = classes();
  if (every.length <= MOST_CHOICES) return every;
  const used = [...labels().values()].filter((label) => label !== null);
  return [...new Set([...product.likely.map(([label]) => label), ...used, ...every])].slice(0, MOST_CHOICES);
}

function answer(label) {
  if (!products[current]) return;
  const { product, title } = products[current];
  if (label !== null && !classes().includes(label)) say(`New class: ${label}. Undo takes it back.`);
  else say(`${(title || product).slice(0, 60)}: ${label ?? "skipped"}`);
  answers.push([product, label]);
  keep(product);
  show(next());
}

// The next product without an answer, from the current one on.
function next() {
  const answered = labels();
  const rest = [...products.keys()].map((step) => (current + 1 + step) % products.length);
  return rest.find((place) => !answered.has(products[place].product)) ?? products.length;
}

function accept() {
  const likely = products[current]?.likely[0];
  if (likely) answer(likely[0]);
  else if (products[current]) say("There is no suggestion for this product: press a digit, or / to type.");
}

function undo() {
  const last = answers.pop();
  if (!last) return say("There is nothing to undo.");
  keep(last[0]);
  say(`Taken back: ${last[1] ?? "skipped"}`);
  show(places.get(last[0]));
}

function show(place) {
  current = Math.min(Math.max(place, 0), products.length);
  const product = products[current];
  const answered = labels();
  const nSkipped = [...answered.values()].filter((label) => label === null).length;
  $("bar").value = answered.size;
  $("progress").textContent =
    `${answered.size - nSkipped} of ${products.length} labelled` + (nSkipped ? `, ${nSkipped} skipped` : "");
  $("done").hidden = answered.size < products.length;
  $("product").hidden = !product;
  $("back").disabled = current === 0;
  $("forward").disabled = current >= products.length - 1;
  $("skip").disabled = !product;
  $("undo").disabled = answers.length === 0;
  list(answered);
  if (!product) return;
  $("typed").value = "";
  $("matches").replaceChildren();
  picture(product);
  $("title").textContent = product.title || product.product;
  $("about").textContent = [product.title && product.product, product.why].filter(Boolean).join(" · ");
  $("choices").replaceChildren(...choicesOf(product).map((label, n) => choice(label, n, product, answered)));
}

function picture(product) {
  $("product").classList.toggle("plain", !products.some((one) => one.picture));
  if (!product.picture) return $("picture").replaceChildren("no picture");
  const image = new Image();
  image.alt = "";
  image.src = product.picture;
  $("picture").replaceChildren(image);
}

function choice(label, n, product, answered) {
  const button = make("button", "");
  const share = product.likely.find(([one]) => one === label);
  const name = make("span", label, ["name"]);
  name.dir = "auto";
  button.append(make("kbd", n + 1), name);
  if (share) button.append(make("span", `${Math.round(100 * share[1])} %`, ["share"]));
  button.classList.toggle("suggested", product.likely[0]?.[0] === label);
  button.classList.toggle("given", answered.get(product.product) === label);
  button.addEventListener("click", () => answer(label));
  return button;
}

function list(answered) {
  const rows = products.map((product, place) => {
    const row = document.createElement("tr");
    const jump = make("button", product.title || product.product);
    jump.addEventListener("click", () => { show(place); scrollTo(0, 0); });
    const label = answered.get(product.product);
    row.append(make("td", ""), make("td", label === null ? "skipped" : (label ?? ""), label === null ? ["quiet"] : []));
    row.cells[0].append(jump);
    row.cells[0].dir = row.cells[1].dir = "auto";
    if (place === current) row.setAttribute("aria-current", "true");
    return row;
  });
  $("list").tBodies[0].replaceChildren(...rows);
}

// The classes that the typed text fits, those that begin with it first, and at the end the text as a new class.
function matches() {
  const typed = $("typed").value.split(/\s+/u).filter(Boolean).join(" ");
  if (!typed) return [];
  const plain = typed.toLowerCase();
  const every = classes();
  const fits = every.filter((label) => label.toLowerCase().includes(plain));
  fits.sort((a, b) => b.toLowerCase().startsWith(plain) - a.toLowerCase().startsWith(plain));
  const isKnown = every.some((label) => label.toLowerCase() === plain);
  return [...fits.slice(0, MOST_CHOICES).map((label) => [label, label]), ...(isKnown ? [] : [[typed, `new class: ${typed}`]])];
}

function download() {
  const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const every = new Map([...earlier, ...[...labels()].filter(([, label]) => label !== null)]);
  const lines = [["product", "label"], ...every].map((cells) => `${cells.map(cell).join(",")}\r\n`);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(lines, { type: "text/csv" }));
  link.download = data.dataset.file;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  say(`${every.size} labels in ${data.dataset.file}${earlier.length ? ", earlier ones among them" : ""}.`);
}

const commands = {
  Enter: accept,
  s: () => answer(null),
  u: undo,
  d: download,
  ArrowLeft: () => show(current - 1),
  ArrowRight: () => current < products.length - 1 && show(current + 1),
  "/": () => $("typed").focus(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target === $("typed")) {
    if (event.key === "Escape") { $("typed").value = ""; $("matches").replaceChildren(); $("typed").blur(); }
    return;
  }
  if (["Enter", " "].includes(event.key) && event.target.closest("button, summary")) return; // it is pressed itself
  if (event.repeat && !event.key.startsWith("Arrow")) return; // a key that is held answers one product
  const digit = /^[1-9]$/.test(event.key) ? Number(event.key) : 0;
  if (digit) $("choices").children[digit - 1]?.click();
  else if (Object.hasOwn(commands, event.key)) commands[event.key]();
  else return;
  event.preventDefault();
});

$("typed").addEventListener("input", () => {
  $("matches").replaceChildren(...matches().map(([label, text]) => {
    const button = make("button", text);
    button.dir = "auto";
    button.addEventListener("click", () => answer(label));
    return button;
  }));
});
$("typing").addEventListener("submit", (event) => {
  event.preventDefault();
  const first = matches()[0];
  if (!first) return;
  $("typed").blur();
  answer(first[0]);
});
$("back").addEventListener("click", commands.ArrowLeft);
$("forward").addEventListener("click", commands.ArrowRight);
$("skip").addEventListener("click", commands.s);
$("undo").addEventListener("click", undo);
$("download").addEventListener("click", download);

for (const pressed of document.querySelectorAll(".actions button, summary")) {
  // After a click of the mouse Enter is the suggestion again, not that button.
  pressed.addEventListener("click", (event) => { if (event.detail) pressed.blur(); });
}

if (server) {
  $("then").textContent = `The labels are in ${data.dataset.file}. Train with them, or go on:`;
  $("kept").textContent = `Each answer is saved in ${data.dataset.file} as it is given.`;
  $("saving").hidden = false;
  document.addEventListener("visibilitychange", () => { if (document.visibilityState === "visible") sync(); });
  addEventListener("beforeunload", (event) => { if (unsaved.size) event.preventDefault(); });
}

const before = labels();
const first = products.findIndex((product) => !before.has(product.product));
show(first < 0 ? products.length : first);
if (answers.length) say("Answers that this browser kept are there.");
if (server) sync();
