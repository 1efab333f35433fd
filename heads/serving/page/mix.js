/** Late fusion by hand: a slider for each modality's weight, and the answer by these weights. */

import { $, bars, make, number, percent } from "./elements.js";
import { likeliest, reweighed, trainedWeights } from "./late.js";

let weights = {}; // modality -> weight, of sum 1
let trained = {};
let trainedWords = ""; // for the trained weights
let explain = null; // of the last answer: the probabilities of each modality's head

/** Make the sliders, at the weights that the server's facts tell. */
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
    slider.addEventListener("keydown", (event) => { // by whole points, which the step "any" would not do
      const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 }[event.key];
      if (!step) return;
      event.preventDefault();
      move((Math.round(100 * weights[name]) + step) / 100);
    });
    const label = make("label", { htmlFor: slider.id, classes: `dot ${name}` }, name);
    return make("div", { classes: "slider" }, label, slider, make("output", { htmlFor: slider.id, ariaLive: "off" }));
  }));
}

/** Show the late fusion of an answer by the sliders' weights. */
export function showLate(answer) {
  explain = answer.explain;
  show();
}

function show() {
  const present = Object.keys(weights).filter((name) => explain.probabilities[name]);
  $("mix").hidden = Object.keys(weights).length < 2 || !present.length;
  if ($("mix").hidden) return;
  const top = likeliest(explain, weights, 3);
  const [best] = top;
  $("late-best").textContent = best.answer;
  number($("late-probability"), best.probability);
  $("late-top").replaceChildren(...bars(top, "late"));
  const moved = Object.keys(weights).some((name) => Math.abs(weights[name] - trained[name]) > 1e-9);
  const [trainedBest] = likeliest(explain, trained, 1);
  $("trained").disabled = !moved;
  const { answer, probability } = trainedBest;
  $("late-trained").textContent = moved ? `${trainedWords}: ${answer}, ${percent(probability)}` : "";
  const total = present.reduce((sum, name) => sum + weights[name], 0);
  for (const slider of $("sliders").querySelectorAll("input")) {
    const share = weights[slider.name];
    const renormalised = percent(total > 0 ? share / total : 1 / present.length);
    const absent = !explain.probabilities[slider.name];
    slider.value = 100 * share;
    slider.style.setProperty("--share", `${100 * share}%`);
    slider.closest("div").classList.toggle("missing", absent);
    slider.nextElementSibling.textContent = absent ? "not given" : renormalised;
    slider.ariaValueText = `${slider.nextElementSibling.textContent}: ${best.answer}, ${percent(best.probability)}`;
  }
  showStrip(present);
}

/** Show which class wins from one end of the two weights to the other. */
function showStrip(present) {
  $("winners").hidden = present.length !== 2 || Object.keys(weights).length !== 2;
  if ($("winners").hidden) return;
  const parts = [];
  for (let points = 0; points <= 100; points++) {
    const [{ answer }] = likeliest(explain, reweighed(weights, trained, present[0], points / 100), 1);
    if (parts.at(-1)?.answer === answer) parts.at(-1).size++;
    else parts.push({ answer, size: 1 });
  }
  const marker = make("i");
  marker.style.left = `${100 * weights[present[0]]}%`;
  $("strip").replaceChildren(...parts.map((part) => {
    const element = make("span", { title: part.answer, dir: "auto" }, part.answer);
    element.style.flexGrow = part.size;
    return element;
  }), marker);
}

$("trained").addEventListener("click", () => {
  weights = trained;
  show();
  $("sliders").querySelector("input").focus(); // as the button is disabled now
});
