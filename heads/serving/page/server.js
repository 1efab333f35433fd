/** Requests to the server, with the token that it may ask for, and the display of their errors. */

import { $, make } from "./elements.js";

const MOST_TRIES = 3; // without a click, where the server is busy

let token = sessionStorage.getItem("token") || "";

export const hasToken = () => Boolean(token);

class Refusal extends Error {
  constructor(status, message, wait) {
    super(message);
    Object.assign(this, { status, wait });
  }
}

export async function send(path, options = {}) {
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

export const ask = async (path, options) => (await send(path, options)).json();

export function clearError(box) {
  clearInterval(box.countdown);
  box.hidden = true;
  box.replaceChildren();
}

/** Show an error in `box` and offer to `retry`, which gets the number of the try; if the server is busy, do so soon. */
export function showError(box, error, retry, tries = 1) {
  if (error.name === "AbortError") return;
  clearError(box);
  if (error.status === 401) {
    $("token-hint").textContent = token ? "The server did not accept that token." : $("token-hint").textContent;
    $("token-hint").classList.toggle("bad", Boolean(token));
    $("gate").hidden = false;
    $("gate").retry = retry;
    $("token").focus();
    return;
  }
  const retryAs = (number) => {
    clearError(box);
    retry(number);
  };
  const countdown = make("span", { classes: "quiet", ariaHidden: "true" });
  box.append(make("span", {}, error.message, " ", countdown));
  box.hidden = false;
  if (error.status >= 400 && error.status < 500 && error.status !== 429) return; // it would be refused again
  const button = make("button", { type: "button", classes: "plain" }, "Try again");
  button.addEventListener("click", () => retryAs(1));
  box.append(button);
  if (error.status !== 503 || tries >= MOST_TRIES) return;
  let seconds = Math.ceil(error.wait);
  const showSeconds = () => (countdown.textContent = `Another try in ${seconds} s.`);
  showSeconds();
  box.countdown = setInterval(() => (--seconds > 0 ? showSeconds() : retryAs(tries + 1)), 1000);
}

$("gate").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  sessionStorage.setItem("token", token);
  $("token").value = "";
  $("gate").hidden = true;
  $("gate").retry(1);
});
