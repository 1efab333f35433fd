/** The page of a server: a form for a product, whose answer is shown anew at each change. */

import { showAnswer, showNothing } from "./answer.js";
import { $, make } from "./elements.js";
import { formData, hasPicture, isEmpty, listen, makeFields } from "./product_form.js";
import { headNames } from "./late.js";
import { makeSliders } from "./mix.js";
import { ask, clearError, showError } from "./server.js";
import { makeWays, showSimilar, stop } from "./similar.js";

const N_TOP = 5;

let about = null; // the facts that the server tells of itself
let request = new AbortController(); // of the product's answer; aborted as soon as the product changes
let timer = 0;

function changed(wait = 0) {
  request.abort();
  stop();
  clearTimeout(timer);
  clearError($("trouble"));
  $("anew").hidden = isEmpty();
  timer = setTimeout(update, wait);
}

async function update(tries = 1) {
  request.abort();
  const { signal } = request = new AbortController();
  if (isEmpty()) showNothing();
  if (isEmpty() || !about) return; // `start` updates as soon as the facts are there
  $("answer").ariaBusy = "true";
  try {
    const answer = await ask("predict", { method: "POST", body: formData({ top: N_TOP, explain: true }), signal });
    if (signal.aborted) return;
    showAnswer(answer, about, hasPicture());
    if (about.n_products) showSimilar(answer); // its vectors are known to the server by now
  } catch (error) {
    if (signal.aborted) return;
    $("answer").classList.add("stale");
    $("similar").ariaBusy = "false";
    showError($("trouble"), error, update, tries);
  } finally {
    if (!signal.aborted) $("answer").ariaBusy = "false";
  }
}

async function start(tries = 1) {
  try {
    about = await ask("about");
  } catch (error) {
    showError($("trouble"), error, start, tries);
    return;
  }
  document.title = `Which ${about.label}?`;
  $("question").replaceChildren("Which ", make("em", { dir: "auto" }, about.label), " is it?");
  const known = about.n_products ? ` · ${about.n_products.toLocaleString()} known products` : "";
  const answeredBy = `answered by ${about.head}, one of ${headNames(about).length} heads`;
  $("about").textContent = `${about.classes.length.toLocaleString()} classes · ${answeredBy}${known}`;
  makeFields(about);
  makeWays(about);
  makeSliders(about);
  changed();
}

listen(changed);
start();
