/** Late fusion by hand: a slider a modality, and what the answer would be. */

import { $, bars, make, number, percent } from "./elements.js";
import { likeliest, reweighed, trainedWeights } from "./late.js";

let weights = {}; // modality -> weight, of sum 1
let trained = {};
let trainedWords = ""; // what these are
let explain = null; // of the last answer: what each modality says

/** Begin with the weights of the heads that the server tells `about`. */
export function makeSliders(about) {
  weights = trained = trainedWeights(about);
  trainedWords = about.late_weights ? "as trained" : "at equal weights";
  $("trained-words").textContent = ` to ${about.late_weights ? "the trained" : "equal"} weights`;
  $("sliders").replaceChildren(...Object.keys(weights).map((name) => {
    const slider = make("input", { type: "range", id: `weight-${name}`, name, min: 0, max: 100, step: "any" });
    const move = (weight) => {
      weights = reweighed(weights, trained, name, Math.min(1, Math.max(0, weight)));
      show();
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

/** Show what the weights make of an answer. */
export function showLate(answer) {
  explain = answer.explain;
  show();
}

function show() {
  const given = Object.keys(weights).filter((name) => explain.probabilities[name]);
  $("mix").hidden = Object.keys(weights).length < 2 || !given.length;
  if ($("mix").hidden) return;
  const [best, ...others] = likeliest(explain, weights, 3);
  $("late-best").textContent = best.answer;
  number($("late-probability"), best.probability);
  $("late-top").replaceChildren(...bars([best, ...others], "late"));
  const moved = Object.keys(weights).some((name) => Math.abs(weights[name] - trained[name]) > 1e-9);
  const [before] = likeliest(explain, trained, 1);
  $("trained").disabled = !moved;
  $("late-trained").textContent = moved ? `${trainedWords}: ${before.answer}, ${percent(before.probability)}` : "";
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
    const [{ answer }] = likeliest(explain, reweighed(weights, trained, given[0], place / 100), 1);
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

$("trained").addEventListener("click", () => {
  weights = trained;
  show();
  $("sliders").querySelector("input").focus(); // the button is off now
});
