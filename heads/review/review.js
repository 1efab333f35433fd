
"use strict";
// One product at a time. All texts of products and classes become textContent or properties, never markup.
const MOST_CHOICES = 9; // as many as there are digits
const $ = (id) => document.getElementById(id);
const data = document.querySelector(".picks");
const products = [...data.children].map((item) => ({ ...item.dataset, likely: JSON.parse(item.dataset.likely) }));
const indices = new Map(products.map((product, index) => [product.product, index]));
const pageClasses = JSON.parse(data.dataset.classes);
const earlier = JSON.parse(data.dataset.earlier);
const storageKey = `embed-once review ${data.dataset.review}`;
const server = data.dataset.save; // the address at which a server that shows the page saves answers, too
const RETRY_MS = 5000; // until answers that the server did not take are sent again
const TIMEOUT_MS = 10_000; // of a request, as all later answers wait for it

// The answers in their order, [product, label] each; a label of null is a skip. The last answer to a product counts.
let answers = load();
let current = 0; // the index of the product that is shown
// The answers that the server has not confirmed, {product: label}, null where a label is taken back.
const unsaved = loadUnsaved();
let requests = Promise.resolve(); // to the server, one after the other
let retryTimer;

function load() {
  const kept = stored(storageKey);
  const isAnswer = ([product, label]) => indices.has(product) && (label === null || typeof label === "string");
  return (Array.isArray(kept) ? kept : []).filter(isAnswer);
}

function save() {
  if (!store(storageKey, answers)) say("This browser keeps nothing: download the labels before you close the page.");
}

// Each has a key of its own in what the browser keeps, so that no tab overwrites another's.
function unsavedKey(product) {
  return `${storageKey} unsaved ${product}`;
}

function stored(key) {
  try {
    return JSON.parse(localStorage.getItem(key) ?? "");
  } catch {
    return undefined; // nothing has this key, or the browser keeps nothing
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
  const kept = server ? products.map(({ product }) => [product, stored(unsavedKey(product))]) : [];
  return new Map(kept.filter(([, label]) => label === null || typeof label === "string"));
}

// Keep the present answer to a product, in the browser and on the server.
function keep(product) {
  save();
  if (!server) return;
  unsaved.set(product, labels().get(product) ?? null);
  store(unsavedKey(product), unsaved.get(product));
  if (retryTimer === undefined) showSaving("");
  requests = requests.then(send);
}

async function exchange(options) {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), TIMEOUT_MS);
  const response = await fetch(server, { ...options, signal: controller.signal }).catch(() => null);
  const reply = await response?.json().catch(() => null);
  clearTimeout(timer);
  if (!response?.ok || !reply) throw new Error(reply?.error ?? "The server does not answer.");
  return reply;
}

// Have the server save the answers that it has not confirmed.
async function send() {
  const sent = [...unsaved];
  if (!sent.length) return;
  await withRetry(async () => {
    const headers = { "Content-Type": "application/json" };
    await exchange({ method: "POST", headers, body: JSON.stringify({ answers: sent }) });
    for (const [product, label] of sent) {
      if (unsaved.get(product) !== label) continue; // the product was answered anew meanwhile
      unsaved.delete(product);
      if (stored(unsavedKey(product)) === label) store(unsavedKey(product)); // else it is another tab's
    }
  });
}

// Take over the server's answers, of another tab or of the day before, and show the next product without one.
async function receive() {
  await withRetry(async () => {
    const saved = Object.entries((await exchange()).answers).filter(([product]) => indices.has(product));
    const savedLabels = new Map(saved);
    const isValid = ([product, label]) => unsaved.has(product) || (savedLabels.get(product) ?? null) === label;
    const valid = answers.filter(isValid);
    const answered = new Map(valid);
    const added = saved.filter(([product]) => !answered.has(product) && !unsaved.has(product));
    if (added.length || valid.length < answers.length) {
      answers = [...added, ...valid];
      save();
      show(answers.length && labels().has(products[current]?.product) ? next() : current);
    }
  });
}

// Exchange something with the server, show how it went, and after a failure try again later.
async function withRetry(work) {
  let failure = "";
  try {
    await work();
  } catch (error) {
    failure = error.message;
    retryTimer ??= setTimeout(() => { retryTimer = undefined; sync(); }, RETRY_MS);
  }
  showSaving(failure);
}

function showSaving(failure) {
  const waiting = unsaved.size === 1 ? "1 answer is" : `${unsaved.size} answers are`;
  const comfort = unsaved.size ? `${waiting} kept in this browser and sent again.` : "";
  $("saving").classList.toggle("bad", failure !== "");
  if (failure) $("saving").textContent = `Not saved. ${failure} ${comfort}`;
  else $("saving").textContent = unsaved.size ? "Saving …" : `Saved in ${data.dataset.file}.`;
}

function sync() {
  requests = requests.then(send).then(receive);
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
  return [...new Set([...pageClasses, ...answers.map(([, label]) => label).filter((label) => label !== null)])];
}

function choicesOf(product) {
  const all = classes();
  if (all.length <= MOST_CHOICES) return all;
  const used = [...labels().values()].filter((label) => label !== null);
  return [...new Set([...product.likely.map(([label]) => label), ...used, ...all])].slice(0, MOST_CHOICES);
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

// The index of the next product without an answer, after the current one and then from the beginning.
function next() {
  const answered = labels();
  const following = [...products.keys()].map((step) => (current + 1 + step) % products.length);
  return following.find((index) => !answered.has(products[index].product)) ?? products.length;
}

function accept() {
  const likely = products[current]?.likely[0];
  if (likely) answer(likely[0]);
  else if (products[current]) say("There is no suggestion for this product: press a digit, or / to type.");
}

function undo() {
  if (!answers.length) return say("There is nothing to undo.");
  const [product, label] = answers.pop();
  keep(product);
  say(`Taken back: ${label ?? "skipped"}`);
  show(indices.get(product));
}

function show(index) {
  current = Math.min(Math.max(index, 0), products.length);
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
  $("product").classList.toggle("plain", !products.some((candidate) => candidate.picture));
  if (!product.picture) return $("picture").replaceChildren("no picture");
  const image = new Image();
  image.alt = "";
  image.src = product.picture;
  $("picture").replaceChildren(image);
}

function choice(label, n, product, answered) {
  const button = make("button", "");
  const [, share] = product.likely.find(([likelyLabel]) => likelyLabel === label) ?? [];
  const name = make("span", label, ["name"]);
  name.dir = "auto";
  button.append(make("kbd", n + 1), name);
  if (share !== undefined) button.append(make("span", `${share} %`, ["share"]));
  button.classList.toggle("suggested", product.likely[0]?.[0] === label);
  button.classList.toggle("given", answered.get(product.product) === label);
  button.addEventListener("click", () => answer(label));
  return button;
}

function list(answered) {
  const rows = products.map((product, index) => {
    const row = document.createElement("tr");
    const jump = make("button", product.title || product.product);
    jump.addEventListener("click", () => { show(index); scrollTo(0, 0); });
    const label = answered.get(product.product);
    row.append(make("td", ""), make("td", label === null ? "skipped" : (label ?? ""), label === null ? ["quiet"] : []));
    row.cells[0].append(jump);
    row.cells[0].dir = row.cells[1].dir = "auto";
    if (index === current) row.setAttribute("aria-current", "true");
    return row;
  });
  $("list").tBodies[0].replaceChildren(...rows);
}

// The classes that the typed text fits, those that begin with it first, and at the end the text as a new class.
function matches() {
  const typed = $("typed").value.split(/\s+/u).filter(Boolean).join(" ");
  if (!typed) return [];
  const lower = typed.toLowerCase();
  const all = classes();
  const fitting = all.filter((label) => label.toLowerCase().includes(lower));
  fitting.sort((a, b) => b.toLowerCase().startsWith(lower) - a.toLowerCase().startsWith(lower));
  const isKnown = all.some((label) => label.toLowerCase() === lower);
  const choices = fitting.slice(0, MOST_CHOICES).map((label) => [label, label]);
  return isKnown ? choices : [...choices, [typed, `new class: ${typed}`]];
}

function download() {
  const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const allLabels = new Map([...earlier, ...[...labels()].filter(([, label]) => label !== null)]);
  const lines = [["product", "label"], ...allLabels].map((cells) => `${cells.map(cell).join(",")}\r\n`);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(lines, { type: "text/csv" }));
  link.download = data.dataset.file;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  say(`${allLabels.size} labels in ${data.dataset.file}${earlier.length ? ", earlier ones among them" : ""}.`);
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
  if (["Enter", " "].includes(event.key) && event.target.closest("button, summary")) return; // the key presses that
  if (event.repeat && !event.key.startsWith("Arrow")) return; // a key that is held down answers one product only
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
  const [firstMatch] = matches();
  if (!firstMatch) return;
  $("typed").blur();
  answer(firstMatch[0]);
});
$("back").addEventListener("click", commands.ArrowLeft);
$("forward").addEventListener("click", commands.ArrowRight);
$("skip").addEventListener("click", commands.s);
$("undo").addEventListener("click", undo);
$("download").addEventListener("click", download);

for (const control of document.querySelectorAll(".actions button, summary")) {
  // Give up the focus after a click of the mouse, so that Enter takes the suggestion and does not press this again.
  control.addEventListener("click", (event) => { if (event.detail) control.blur(); });
}

if (server) {
  $("then").textContent = `The labels are in ${data.dataset.file}. Train with them, or go on:`;
  $("kept").textContent = `Each answer is saved in ${data.dataset.file} as it is given.`;
  $("saving").hidden = false;
  document.addEventListener("visibilitychange", () => { if (document.visibilityState === "visible") sync(); });
  addEventListener("beforeunload", (event) => { if (unsaved.size) event.preventDefault(); });
}

const answeredBefore = labels();
const firstOpen = products.findIndex(({ product }) => !answeredBefore.has(product));
show(firstOpen < 0 ? products.length : firstOpen);
if (answers.length) say("Answers that this browser kept are there.");
if (server) sync();
