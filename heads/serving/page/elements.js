/** Elements of the page, and numbers and lists in words. */

export const $ = (id) => document.getElementById(id);

export function make(tag, values = {}, ...children) {
  const { classes, ...properties } = values;
  const element = Object.assign(document.createElement(tag), properties);
  if (classes) element.className = classes;
  element.append(...children);
  return element;
}

export function percent(share) {
  const digits = (100 * share).toFixed(1);
  if (share < 1 && digits === "100.0") return "> 99.9 %";
  return share > 0 && digits === "0.0" ? "< 0.1 %" : `${digits} %`;
}

export const quiet = (words) => make("span", { classes: "quiet" }, words);
export const datum = (share) => make("data", { value: share }, percent(share));

export function number(element, share) {
  element.value = String(share);
  element.textContent = percent(share);
}

export function bar(share, kind) {
  const fill = make("span", { classes: `fill ${kind}` });
  fill.style.width = `${100 * share}%`; // not as an attribute, which the content security policy forbids
  return make("span", { classes: "bar", ariaHidden: "true" }, fill);
}

export function bars(answers, kind) {
  return answers.map(({ answer, probability }) => make("li", {},
    make("span", { classes: "name", dir: "auto", title: answer }, answer), bar(probability, kind), datum(probability)));
}

export const listed = (words) =>
  words.length > 1 ? `${words.slice(0, -1).join(", ")} and ${words.at(-1)}` : words.join("");
