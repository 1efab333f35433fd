/** The known products that are most like the one in the form. */

import { $, make, quiet } from "./elements.js";
import { formData } from "./product_form.js";
import { ask, clearError, hasToken, send, showError } from "./server.js";

const N_SIMILAR = 12;

let request = new AbortController(); // for the similar products; aborted as soon as the product changes
let answered = null; // the answer to the product in the form

/** Offer the modalities by which products may be alike. */
export function makeWays(about) {
  const ways = about.similar_by ?? ["fused", ...about.modalities.filter((name) => name !== "metadata")];
  $("by").append(...ways.map((value, n) => make("label", {},
    make("input", { type: "radio", name: "by", value, defaultChecked: !n }), make("span", {}, value))));
}

/** Stop looking, as the product has changed. */
export function stop() {
  request.abort();
  clearError($("similar-trouble"));
}

/** Look for products like the one that was answered. */
export function showSimilar(answer) {
  answered = answer;
  return find();
}

async function find(tries = 1) {
  stop();
  const { signal } = request = new AbortController();
  const radios = [...$("by").querySelectorAll("input")];
  const usable = radios.filter((radio) => answered.statuses[radio.value] === "ok");
  $("similar").hidden = !usable.length;
  if ($("similar").hidden) return;
  for (const radio of radios) radio.disabled = radio.value !== "fused" && !usable.includes(radio);
  if ($("by").querySelector(":checked").disabled) radios.find((radio) => !radio.disabled).checked = true;
  $("similar").ariaBusy = "true";
  try {
    const by = $("by").querySelector(":checked").value;
    const { products } = await ask("similar", { method: "POST", body: formData({ n: N_SIMILAR, by }), signal });
    if (!signal.aborted) $("products").replaceChildren(...products.map((product) => card(product, signal)));
  } catch (error) {
    if (signal.aborted) return;
    $("products").replaceChildren();
    showError($("similar-trouble"), error, find, tries);
  } finally {
    if (!signal.aborted) $("similar").ariaBusy = "false";
  }
}

function card(product, signal) {
  const frame = make("div", { classes: "frame" });
  const blank = () => frame.replaceChildren(quiet("no picture"));
  const show = (source) => frame.replaceChildren(make("img", { alt: "", onerror: blank, src: source }));
  const path = product.picture?.replace(/^\//, ""); // beside the page, also where a proxy gives both a prefix
  if (!path || new URL(path, location).origin !== location.origin) blank();
  else if (!hasToken()) show(path);
  else send(path, { signal }).then((response) => response.blob()).then((blob) => {
    show(URL.createObjectURL(blob)); // an <img> sends no token
    frame.firstChild.onload = (event) => URL.revokeObjectURL(event.target.src);
  }).catch(blank);
  const classes = product.label === answered.answer ? "good" : "";
  return make("li", {}, frame, make("p", { classes: "title", dir: "auto" }, product.title || product.id),
    make("p", { classes: "facts" }, make("span", { dir: "auto", classes }, product.label ?? ""),
      make("data", { value: product.similarity, title: "cosine similarity" }, product.similarity.toFixed(2))));
}

$("by").addEventListener("change", () => find());
