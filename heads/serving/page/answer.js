/** The server's answer on the page: from all modalities, from each of them, and from each head. */

import { $, bar, bars, datum, listed, make, number, percent, quiet } from "./elements.js";
import { showLate } from "./mix.js";

const STATUSES = { // those of embed/contents/statuses.py, in words
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

/** Show an answer; `about` are the server's facts. Of a picture that was given but not used, say why. */
export function showAnswer(answer, about, hasPicture) {
  $("answer").classList.remove("stale");
  const isAnswered = answer.answer !== null;
  const failed = hasPicture && (answer.statuses.image ?? "ok") !== "ok";
  $("picture-status").textContent = failed ? `Not used: ${inWords("image", answer.statuses.image)}.` : "";
  $("picture-status").hidden = !failed;
  $("nothing").hidden = true;
  $("result").hidden = false;
  $("answered-by").textContent = isAnswered ? `Answered by ${about.head}` : "The head has nothing to go by";
  $("best").textContent = isAnswered ? answer.answer : "no answer";
  if (isAnswered) number($("probability"), answer.probability);
  else $("probability").textContent = "";
  $("top").replaceChildren(...bars(answer.top, "fused"));
  $("disagree").hidden = !answer.disagree;
  $("disagree").textContent = `They disagree: ${votes(answer)}.`;
  $("modalities").replaceChildren(...about.modalities.map((name) => modalityRow(name, answer)));
  $("heads").replaceChildren(...Object.entries(answer.heads).map(([name, headAnswer]) => make("li", {},
    make("span", { classes: "head" }, name),
    make("span", { dir: "auto" }, headAnswer ? headAnswer.answer : "no answer"),
    quiet(headAnswer ? percent(headAnswer.probability) : ""))));
  $("peek").textContent = isAnswered ? `${answer.answer}, ${percent(answer.probability)}` : "no answer";
  $("spoken").textContent = `${$("peek").textContent}. ${answer.disagree ? $("disagree").textContent : ""}`;
  showLate(answer);
}

/** Return in words which modalities say which class. */
function votes(answer) {
  const voters = new Map(); // class -> modalities
  for (const modality of Object.keys(answer.explain.probabilities)) {
    const vote = answer.heads[modality]?.answer;
    if (vote !== undefined) voters.set(vote, [...(voters.get(vote) ?? []), modality]);
  }
  return [...voters].map(([vote, names]) => `${listed(names)} ${names.length > 1 ? "say" : "says"} ${vote}`).join("; ");
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
