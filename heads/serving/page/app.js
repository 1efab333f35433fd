/** The page of a server: a product is given, and the answer comes as it changes. */

import { showAnswer, showNothing } from "./answer.js";
import { $, make } from "./elements.js";
import { body, hasPicture, isEmpty, listen, makeFields } from "./given.js";
import { headNames } from "./late.js";
import { makeSliders } from "./mix.js";
import { ask, calm, complain } from "./server.js";
import { makeWays, showSimilar, stop } from "./similar.js";

const N_TOP = 5;

let about = null; // what the server tells of itself
let turn = new AbortController(); // of the product as it stands; aborted as soon as that changes
let timer = 0;

function changed(wait = 0) {
  turn.abort();
  stop();
  clearTimeout(timer);
  calm($("trouble"));
  $("anew").hidden = isEmpty();
  timer = setTimeout(update, wait);
}

async function update(tries = 1) {
  turn.abort();
  const { signal } = turn = new AbortController();
  if (isEmpty()) showNothing();
  if (isEmpty() || !about) return; // it comes as soon as the server has told
  $("answer").ariaBusy = "true";
  try {
    const answer = await ask("predict", { method: "POST", body: body({ top: N_TOP, explain: true }), signal });
    if (signal.aborted) return;
    showAnswer(answer, about, hasPicture());
    if (about.n_products) showSimilar(answer); // its vectors are known to the server by now
  } catch (error) {
    if (signal.aborted) return;
    $("answer").classList.add("stale");
    $("similar").ariaBusy = "false";
    complain($("trouble"), error, update, tries);
  } finally {
    if (!signal.aborted) $("answer").ariaBusy = "false";
  }
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
  const by = `answered by ${about.head}, one of ${headNames(about).length} heads`;
  $("about").textContent = `${about.classes.length.toLocaleString()} classes · ${by}${alike}`;
  makeFields(about);
  makeWays(about);
  makeSliders(about);
  changed();
}

listen(changed);
start();
