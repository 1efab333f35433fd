/** What the server answered: by all, by each modality, and by each head. */

import { $, bar, bars, datum, make, named, number, percent, quiet } from "./elements.js";
import { showLate } from "./mix.js";

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

function inWords(modality, status) {
  const words = STATUSES[status] ?? status;
  return typeof words === "string" ? words : words[modality] ?? `no ${modality}`;
}

export function showNothing() {
  $("answer").ariaBusy = "false";
  $("result").hidden = $("similar").hidden = $("picture-status").hidden = $("peek").hidden = true;
  $("nothing").hidden = false;
  $("spoken").textContent = "";
}

/** Show an answer of the server that tells `about` itself; of a picture that was given say why it was not used. */
export function showAnswer(answer, about, hasPicture) {
  $("answer").classList.remove("stale");
  const known = answer.answer !== null;
  const failed = hasPicture && (answer.statuses.image ?? "ok") !== "ok";
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
  showLate(answer);
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

new IntersectionObserver(([{ isIntersecting, boundingClientRect }]) => {
  $("peek").hidden = $("result").hidden || isIntersecting || boundingClientRect.top < 0;
}).observe($("top"));
