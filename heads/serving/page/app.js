"use strict";

const DEBOUNCE_MS = 300; // after the last letter
const N_TOP = 5;
const N_SIMILAR = 12;
const MOST_TRIES = 3; // by itself, where the server is busy
const MOST_OPTIONS = 100; // beyond it, a list to type in
const STATUSES = { // as in embed/contents/statuses.py, to a person
  absent: { image: "no picture given", text: "no text given", metadata: "nothing filled in" },
  empty: { image: "the file is empty", text: "no text given" },
  not_an_image: "the file is no picture that can be read",
  truncated: "the picture ends early or is damaged",
  too_large: "the picture is too large, or more than 50 times as long as wide",
  unsupported_mode: "the picture's colours are of a kind that cannot be read",
  not_unicode: "the text is not valid Unicode",
  changed: "the picture could not be read in time",
};

const $ = (id) => document.getElementById(id);
let about = null;
let token = sessionStorage.getItem("token") || "";
let picture = null; // a File
let weights = {}; // modality -> weight, of sum 1
let said = null; // the last answer of /predict
let turn = new AbortController(); // of the input as it stands; aborted as soon as that changes
let similarTurn = turn;
let timer = 0;

// ---- words and small parts

function make(tag, values = {}, ...children) {
  const { classes, ...others } = values;
  const element = Object.assign(document.createElement(tag), others);
  if (classes) element.className = classes;
  element.append(...children);
  return element;
}

function percent(share) {
  const digits = (100 * share).toFixed(1);
  if (share < 1 && digits === "100.0") return "> 99.9 %";
  return share > 0 && digits === "0.0" ? "< 0.1 %" : `${digits} %`;
}

const quiet = (words) => make("span", { classes: "quiet" }, words);
const datum = (share) => make("data", { value: share }, percent(share));

function number(element, share) {
  element.value = String(share);
  element.textContent = percent(share);
}

function bar(share, kind) {
  const fill = make("span", { classes: `fill ${kind}` });
  fill.style.width = `${100 * share}%`; // by the object model, which the policy permits
  return make("span", { classes: "bar", ariaHidden: "true" }, fill);
}

function bars(answers, kind) {
  return answers.map(({ answer, probability }) => make("li", {},
    make("span", { classes: "name", dir: "auto", title: answer }, answer), bar(probability, kind), datum(probability)));
}

function inWords(modality, status) {
  const words = STATUSES[status] ?? status;
  return typeof words === "string" ? words : words[modality] ?? `no ${modality}`;
}

const named = (words) => words.length > 1 ? `${words.slice(0, -1).join(", ")} and ${words.at(-1)}` : words.join("");

// ---- the server

class Refusal extends Error {
  constructor(status, message, wait) {
    super(message);
    Object.assign(this, { status, wait });
  }
}

async function send(path, options = {}) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, "The server does not answer. Is heads-serve still running?");
  }
  if (response.ok) return response;
  const { error } = await response.json().catch(() => ({}));
  const wait = Math.min(Number(response.headers.get("Retry-After")) || 2, 30);
  throw new Refusal(response.status, error || `The server refused with status ${response.status}.`, wait);
}

const ask = async (path, options) => (await send(path, options)).json();

function body(fields) {
  const form = new FormData();
  if (picture) form.set("image", picture);
  if ($("text").value.trim()) form.set("text", $("text").value);
  for (const field of $("cells").querySelectorAll("input, select")) if (field.value) form.set(field.name, field.value);
  for (const [name, value] of Object.entries(fields)) form.set(name, value);
  return form;
}

function calm(place) {
  clearInterval(place.countdown);
  place.hidden = true;
  place.replaceChildren();
}

/** Say what went wrong and offer another try; where the server is busy it is made by itself after a while. */
function complain(place, error, again, tries = 1) {
  if (error.name === "AbortError") return;
  calm(place);
  if (error.status === 401) {
    $("token-hint").textContent = token ? "The server did not accept that token." : $("token-hint").textContent;
    $("token-hint").classList.toggle("bad", Boolean(token));
    $("gate").hidden = false;
    $("gate").again = again;
    $("token").focus();
    return;
  }
  const retry = () => {
    calm(place);
    again(tries + 1);
  };
  const rest = make("span", { classes: "quiet", ariaHidden: "true" });
  place.append(make("span", {}, error.message, " ", rest));
  place.hidden = false;
  if (error.status >= 400 && error.status < 500 && error.status !== 429) return; // it would be refused again
  const button = make("button", { type: "button", classes: "plain" }, "Try again");
  button.addEventListener("click", () => {
    calm(place);
    again(1);
  });
  place.append(button);
  if (error.status !== 503 || tries >= MOST_TRIES) return;
  let seconds = Math.ceil(error.wait);
  const tell = () => (rest.textContent = `Another try in ${seconds} s.`);
  tell();
  place.countdown = setInterval(() => (--seconds > 0 ? tell() : retry()), 1000);
}

// ---- from input to answer

const isEmpty = () => ![...body({}).keys()].length;

function changed(wait = 0) {
  turn.abort();
  similarTurn.abort();
  clearTimeout(timer);
  for (const place of [$("trouble"), $("similar-trouble")]) calm(place);
  $("anew").hidden = isEmpty();
  timer = setTimeout(update, wait);
}

async function update(tries = 1) {
  turn.abort();
  const { signal } = turn = new AbortController();
  if (isEmpty()) return showNothing();
  if (!about) return undefined; // it comes as soon as the server has told
  $("answer").ariaBusy = "true";
  try {
    const answer = await ask("predict", { method: "POST", body: body({ top: N_TOP, explain: true }), signal });
    if (!signal.aborted) showAnswer(answer);
  } catch (error) {
    if (signal.aborted) return undefined;
    $("answer").classList.add("stale");
    $("similar").ariaBusy = "false";
    complain($("trouble"), error, update, tries);
    return undefined;
  } finally {
    if (!signal.aborted) $("answer").ariaBusy = "false";
  }
  return signal.aborted ? undefined : findSimilar(); // its vectors are known to the server by now
}

async function findSimilar(tries = 1) {
  similarTurn.abort();
  const { signal } = similarTurn = new AbortController();
  calm($("similar-trouble"));
  const radios = [...$("by").querySelectorAll("input")];
  const given = radios.filter((radio) => said.statuses[radio.value] === "ok");
  $("similar").hidden = !about.n_products || !given.length;
  if ($("similar").hidden) return;
  for (const radio of radios) radio.disabled = radio.value !== "fused" && !given.includes(radio);
  if ($("by").querySelector(":checked").disabled) radios.find((radio) => !radio.disabled).checked = true;
  $("similar").ariaBusy = "true";
  try {
    const by = $("by").querySelector(":checked").value;
    const { products } = await ask("similar", { method: "POST", body: body({ n: N_SIMILAR, by }), signal });
    if (!signal.aborted) $("products").replaceChildren(...products.map((product) => card(product, signal)));
  } catch (error) {
    if (signal.aborted) return;
    $("products").replaceChildren();
    complain($("similar-trouble"), error, findSimilar, tries);
  } finally {
    if (!signal.aborted) $("similar").ariaBusy = "false";
  }
}

// ---- what is shown

function showNothing() {
  said = null;
  $("answer").ariaBusy = "false";
  $("result").hidden = $("similar").hidden = $("picture-status").hidden = $("peek").hidden = true;
  $("nothing").hidden = false;
  $("spoken").textContent = "";
}

function showAnswer(answer) {
  said = answer;
  $("answer").classList.remove("stale");
  const known = answer.answer !== null;
  const failed = picture && (answer.statuses.image ?? "ok") !== "ok";
  $("picture-status").textContent = failed ? `Not used: ${inWords("image", answer.statuses.image)}.` : "";
  $("picture-status").hidden = !failed;
  $("nothing").hidden = true;
  $("result").hidden = false;
  $("answered-by").textContent = known ? `Answered by ${about.head}` : "The head has nothing to go by";
  $("best").textContent = known ? answer.answer : "no answer";
  if (known) number($("probability"), answer.probability);
  else $("probability").textContent = "";
  $("top").replaceChildren(...bars(answer.top, "fused"));
  $("disagree").hidden = !answer.disagree;
  $("disagree").textContent = `They disagree: ${votes(answer)}.`;
  $("modalities").replaceChildren(...about.modalities.map((name) => modalityRow(name, answer)));
  $("heads").replaceChildren(...Object.entries(answer.heads).map(([name, one]) => make("li", {},
    make("span", { classes: "head" }, name), make("span", { dir: "auto" }, one ? one.answer : "no answer"),
    quiet(one ? percent(one.probability) : ""))));
  $("peek").textContent = known ? `${answer.answer}, ${percent(answer.probability)}` : "no answer";
  $("spoken").textContent = `${$("peek").textContent}. ${answer.disagree ? $("disagree").textContent : ""}`;
  showLate();
}

/** Return which modalities say what, in words. */
function votes(answer) {
  const answers = new Map();
  for (const name of Object.keys(answer.explain.probabilities)) {
    const one = answer.heads[name]?.answer;
    if (one !== undefined) answers.set(one, [...(answers.get(one) ?? []), name]);
  }
  return [...answers].map(([one, names]) => `${named(names)} ${names.length > 1 ? "say" : "says"} ${one}`).join("; ");
}

function modalityRow(name, answer) {
  const status = answer.statuses[name] ?? "absent";
  const head = make("span", { classes: `head dot ${name}` }, name);
  if (status !== "ok") return make("li", { classes: "missing" }, head, quiet(inWords(name, status)));
  const row = make("li", {}, head);
  const alone = answer.heads[name];
  const share = alone?.probability;
  if (alone) row.append(make("b", { dir: "auto" }, alone.answer), bar(share, name), datum(share));
  else row.append(quiet("counts, but has no head of its own in this run"));
  const without = answer.explain.without[name];
  const differs = without && without.answer !== answer.answer;
  const words = without ? `${differs ? "" : "still "}${without.answer}, ${percent(without.probability)}` : "no answer";
  row.append(make("span", { classes: `without ${differs ? "warn" : "quiet"}` }, `Without it: ${words}`));
  return row;
}

function card(product, signal) {
  const frame = make("div", { classes: "frame" });
  const blank = () => frame.replaceChildren(quiet("no picture"));
  const show = (source) => frame.replaceChildren(make("img", { alt: "", onerror: blank, src: source }));
  if (!product.picture || new URL(product.picture, location).origin !== location.origin) blank();
  else if (!token) show(product.picture);
  else send(product.picture, { signal }).then((response) => response.blob()).then((blob) => {
    show(URL.createObjectURL(blob)); // an <img> sends no token
    frame.firstChild.onload = (event) => URL.revokeObjectURL(event.target.src);
  }).catch(blank);
  const classes = product.label === said.answer ? "good" : "";
  return make("li", {}, frame, make("p", { classes: "title", dir: "auto" }, product.title || product.id),
    make("p", { classes: "facts" }, make("span", { dir: "auto", classes }, product.label ?? ""),
      make("data", { value: product.similarity, title: "cosine similarity" }, product.similarity.toFixed(2))));
}

// ---- late fusion

/** Average as heads/modules/late.py does: weights are renormalised over what is given, and alike where all are 0. */
function pool(explain, by) {
  const given = Object.keys(by).filter((name) => explain.probabilities[name]);
  const total = given.reduce((sum, name) => sum + by[name], 0);
  const mixed = new Array(explain.classes.length).fill(0);
  for (const name of given) {
    const share = total > 0 ? by[name] / total : 1 / given.length;
    tempered(explain.probabilities[name], explain.late_temperatures?.[name]).forEach((one, k) => (mixed[k] += share * one));
  }
  return tempered(mixed, explain.late_temperature);
}

function tempered(probabilities, temperature) {
  if ((temperature ?? 1) === 1) return probabilities;
  const powers = probabilities.map((one) => one ** (1 / temperature));
  const total = powers.reduce((sum, one) => sum + one, 0);
  return powers.map((one) => one / total);
}

function likeliest(explain, by, n) {
  return pool(explain, by).map((probability, k) => ({ answer: explain.classes[k], probability }))
    .sort((one, other) => other.probability - one.probability).slice(0, n);
}

/** Return weights of sum 1 in which `name` has `weight`; the others keep their proportions, or have the trained ones. */
function reweighed(name, weight) {
  const others = Object.keys(weights).filter((other) => other !== name);
  const sum = (by) => others.reduce((total, other) => total + by[other], 0);
  const alike = Object.fromEntries(others.map((other) => [other, 1]));
  const by = [weights, trainedWeights(), alike].find((one) => sum(one) > 0);
  const shares = others.map((other) => [other, (1 - weight) * by[other] / sum(by)]);
  return { ...weights, ...Object.fromEntries(shares), [name]: weight };
}

const headNames = () => Array.isArray(about.heads) ? about.heads : Object.keys(about.heads);

function trainedWeights() {
  const alike = () => Object.fromEntries(headNames().map((name) => [name, 1]));
  const trained = about.late_weights ?? alike();
  const names = about.modalities.filter((name) => name in trained);
  const total = names.reduce((sum, name) => sum + trained[name], 0);
  return Object.fromEntries(names.map((name) => [name, trained[name] / total]));
}

function showLate() {
  const { explain } = said;
  const given = Object.keys(weights).filter((name) => explain.probabilities[name]);
  $("mix").hidden = Object.keys(weights).length < 2 || !given.length;
  if ($("mix").hidden) return;
  const [best, ...others] = likeliest(explain, weights, 3);
  $("late-best").textContent = best.answer;
  number($("late-probability"), best.probability);
  $("late-top").replaceChildren(...bars([best, ...others], "late"));
  const trained = trainedWeights();
  const moved = Object.keys(weights).some((name) => Math.abs(weights[name] - trained[name]) > 1e-9);
  const [before] = likeliest(explain, trained, 1);
  $("trained").disabled = !moved;
  const when = about.late_weights ? "as trained" : "at equal weights";
  $("late-trained").textContent = moved ? `${when}: ${before.answer}, ${percent(before.probability)}` : "";
  const total = given.reduce((sum, name) => sum + weights[name], 0);
  for (const slider of $("sliders").querySelectorAll("input")) {
    const share = weights[slider.name];
    const counts = percent(total > 0 ? share / total : 1 / given.length);
    const absent = !explain.probabilities[slider.name];
    slider.value = 100 * share;
    slider.style.setProperty("--share", `${100 * share}%`);
    slider.closest("div").classList.toggle("missing", absent);
    slider.nextElementSibling.textContent = absent ? "not given" : counts;
    slider.ariaValueText = `${slider.nextElementSibling.textContent}: ${best.answer}, ${percent(best.probability)}`;
  }
  showStrip(given);
}

/** Show which class wins from one end of the two weights to the other. */
function showStrip(given) {
  $("winners").hidden = given.length !== 2 || Object.keys(weights).length !== 2;
  if ($("winners").hidden) return;
  const parts = [];
  for (let place = 0; place <= 100; place++) {
    const [{ answer }] = likeliest(said.explain, reweighed(given[0], place / 100), 1);
    if (parts.at(-1)?.answer === answer) parts.at(-1).size++;
    else parts.push({ answer, size: 1 });
  }
  const marker = make("i");
  marker.style.left = `${100 * weights[given[0]]}%`;
  $("strip").replaceChildren(...parts.map((part) => {
    const element = make("span", { title: part.answer, dir: "auto" }, part.answer);
    element.style.flexGrow = part.size;
    return element;
  }), marker);
}

function makeSliders() {
  weights = trainedWeights();
  $("trained-words").textContent = ` to ${about.late_weights ? "the trained" : "equal"} weights`;
  $("sliders").replaceChildren(...Object.keys(weights).map((name) => {
    const slider = make("input", { type: "range", id: `weight-${name}`, name, min: 0, max: 100, step: "any" });
    const move = (weight) => {
      weights = reweighed(name, Math.min(1, Math.max(0, weight)));
      showLate();
    };
    slider.addEventListener("input", () => move(slider.valueAsNumber / 100));
    slider.addEventListener("keydown", (event) => { // whole points, whatever `any` makes of a key
      const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 }[event.key];
      if (!step) return;
      event.preventDefault();
      move((Math.round(100 * weights[name]) + step) / 100);
    });
    const label = make("label", { htmlFor: slider.id, classes: `dot ${name}` }, name);
    return make("div", { classes: "slider" }, label, slider, make("output", { htmlFor: slider.id, ariaLive: "off" }));
  }));
}

// ---- input

function take(file) {
  const most = about?.limits?.body_bytes ?? Infinity;
  if (file && file.size > most) {
    $("picture-status").textContent = `Not taken: the server reads ${Math.floor(most / 1e6)} MB at most.`;
    $("picture-status").hidden = false;
    return;
  }
  if ($("preview").src) URL.revokeObjectURL($("preview").src);
  picture = file ?? null;
  $("picture").value = "";
  $("drop").classList.toggle("full", Boolean(picture));
  $("preview").hidden = !picture;
  $("drop-icon").toggleAttribute("hidden", Boolean(picture));
  $("remove").hidden = !picture;
  $("picture-words").textContent = picture ? "Replace the picture" : "Choose a picture";
  const size = picture && Math.max(1, Math.round(picture.size / 1000)).toLocaleString();
  $("picture-hint").textContent = picture ? `${picture.name}, ${size} kB` : "or drop it anywhere, or paste it";
  $("picture-status").hidden = true;
  if (picture) $("preview").src = URL.createObjectURL(picture);
  else $("preview").removeAttribute("src");
  changed();
}

function listen() {
  $("preview").addEventListener("error", () => { // of a kind that a browser cannot show
    $("preview").hidden = true;
    $("drop-icon").toggleAttribute("hidden", false);
  });
  $("picture").addEventListener("change", () => $("picture").files.length && take($("picture").files[0]));
  $("remove").addEventListener("click", () => {
    take(null);
    $("picture").focus();
  });
  $("product").addEventListener("submit", (event) => event.preventDefault());
  $("product").addEventListener("reset", () => setTimeout(() => {
    take(null);
    $("picture").focus();
  }));
  $("product").addEventListener("input", ({ target }) => {
    if (target !== $("picture")) changed(target.matches("select") ? 0 : DEBOUNCE_MS);
  });
  $("by").addEventListener("change", () => findSimilar());
  $("trained").addEventListener("click", () => {
    weights = trainedWeights();
    showLate();
    $("sliders").querySelector("input").focus(); // the button is off now
  });
  $("gate").addEventListener("submit", (event) => {
    event.preventDefault();
    token = $("token").value.trim();
    sessionStorage.setItem("token", token);
    $("token").value = "";
    $("gate").hidden = true;
    $("gate").again(1);
  });
  document.addEventListener("paste", (event) => {
    const [file] = event.clipboardData.files;
    if (file) event.preventDefault();
    if (file) take(file);
  });
  new IntersectionObserver(([{ isIntersecting, boundingClientRect }]) => {
    $("peek").hidden = !said || isIntersecting || boundingClientRect.top < 0;
  }).observe($("top"));
  let depth = 0; // dragenter and dragleave come for each element on the way
  const drag = (type, act) => document.addEventListener(type, (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    act(event);
    $("drop").classList.toggle("over", depth > 0);
  });
  drag("dragenter", () => depth++);
  drag("dragleave", () => depth--);
  drag("dragover", () => {});
  drag("drop", (event) => {
    depth = 0;
    take(event.dataTransfer.files[0]);
  });
}

function cell({ name, kind, categories }) {
  const id = `cell-${name}`;
  const options = (categories ?? []).filter(Boolean).map((one) => make("option", { value: one }, one));
  const row = make("div", { classes: "field" }, make("label", { htmlFor: id }, name));
  if (options.length && options.length <= MOST_OPTIONS) {
    row.append(make("select", { id, name }, make("option", { value: "" }, "not known"), ...options));
    return row;
  }
  const inputMode = kind === "number" ? "decimal" : "text";
  const field = make("input", { id, name, type: kind === "date" ? "date" : "text", inputMode });
  field.setAttribute("list", `${id}-options`);
  row.append(field, make("datalist", { id: `${id}-options` }, ...options));
  return row;
}

async function start(tries = 1) {
  try {
    about = await ask("about");
  } catch (error) {
    complain($("trouble"), error, start, tries);
    return;
  }
  document.title = `Which ${about.label}?`;
  $("question").replaceChildren("Which ", make("em", { dir: "auto" }, about.label), " is it?");
  const alike = about.n_products ? ` · ${about.n_products.toLocaleString()} known products` : "";
  const by = `answered by ${about.head}, one of ${headNames().length} heads`;
  $("about").textContent = `${about.classes.length.toLocaleString()} classes · ${by}${alike}`;
  $("picture-field").hidden = !about.modalities.includes("image");
  $("text-field").hidden = !about.modalities.includes("text");
  const columns = about.text_columns.join(", ");
  $("text-columns").textContent = columns.toLowerCase() === "title" ? "" : columns; // the field is called so
  $("cells").replaceChildren(...about.metadata_columns.map(cell));
  const ways = about.similar_by ?? ["fused", ...about.modalities.filter((name) => name !== "metadata")];
  $("text").maxLength = about.limits?.characters ?? -1;
  $("by").append(...ways.map((value, n) => make("label", {},
    make("input", { type: "radio", name: "by", value, defaultChecked: !n }), make("span", {}, value))));
  makeSliders();
  changed();
}

listen();
start();
