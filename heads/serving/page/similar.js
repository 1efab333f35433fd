/** The known products that are most like the one that is given. */

import { $, make, quiet } from "./elements.js";
import { body } from "./given.js";
import { ask, calm, complain, hasToken, send } from "./server.js";

const N_SIMILAR = 12;

let turn = new AbortController();
let said = null; // the answer to the product as it stands

/** Offer the ways in which products may be alike. */
export function makeWays(about) {
  const ways = about.similar_by ?? ["fused", ...about.modalities.filter((name) => name !== "metadata")];
  $("by").append(...ways.map((value, n) => make("label", {},
    make("input", { type: "radio", name: "by", value, defaultChecked: !n }), make("span", {}, value))));
}

/** Stop looking: the product is another one. */
export function stop() {
  turn.abort();
  calm($("similar-trouble"));
}

/** Look for products like the one that was answered. */
export function showSimilar(answer) {
  said = answer;
  return find();
}

async function find(tries = 1) {
  stop();
  const { signal } = turn = new AbortController();
  const radios = [...$("by").querySelectorAll("input")];
  const given = radios.filter((radio) => said.statuses[radio.value] === "ok");
  $("similar").hidden = !given.length;
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
    complain($("similar-trouble"), error, find, tries);
  } finally {
    if (!signal.aborted) $("similar").ariaBusy = "false";
  }
}

function card(product, signal) {
  const frame = make("div", { classes: "frame" });
  const blank = () => frame.replaceChildren(quiet("no picture"));
  const show = (source) => frame.replaceChildren(make("img", { alt: "", onerror: blank, src: source }));
  if (!product.picture || new URL(product.picture, location).origin !== location.origin) blank();
  else if (!hasToken()) show(product.picture);
  else send(product.picture, { signal }).then((response) => response.blob()).then((blob) => {
    show(URL.createObjectURL(blob)); // an <img> sends no token
    frame.firstChild.onload = (event) => URL.revokeObjectURL(event.target.src);
  }).catch(blank);
  const classes = product.label === said.answer ? "good" : "";
  return make("li", {}, frame, make("p", { classes: "title", dir: "auto" }, product.title || product.id),
    make("p", { classes: "facts" }, make("span", { dir: "auto", classes }, product.label ?? ""),
      make("data", { value: product.similarity, title: "cosine similarity" }, product.similarity.toFixed(2))));
}

$("by").addEventListener("change", () => find());
