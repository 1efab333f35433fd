/** What the server is asked, the token that it may want, and what is said where it refuses. */

import { $, make } from "./elements.js";

const MOST_TRIES = 3; // by itself, where the server is busy

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

export function calm(place) {
  clearInterval(place.countdown);
  place.hidden = true;
  place.replaceChildren();
}

/** Say what went wrong and offer another try; where the server is busy it is made by itself after a while. */
export function complain(place, error, again, tries = 1) {
  if (error.name === "AbortError") return;
  calm(place);
  if (error.status === 401) {
    $("token-hint").textContent = token ? "The server did not accept that token." : $("token-hint").textContent;
    $("token-hint").classList.toggle("bad", Boolean(token));
    $("gate").hidden = false;
    $("gate").again = again;
    $("token").focus();
    return;
  }
  const retry = () => {
    calm(place);
    again(tries + 1);
  };
  const rest = make("span", { classes: "quiet", ariaHidden: "true" });
  place.append(make("span", {}, error.message, " ", rest));
  place.hidden = false;
  if (error.status >= 400 && error.status < 500 && error.status !== 429) return; // it would be refused again
  const button = make("button", { type: "button", classes: "plain" }, "Try again");
  button.addEventListener("click", () => {
    calm(place);
    again(1);
  });
  place.append(button);
  if (error.status !== 503 || tries >= MOST_TRIES) return;
  let seconds = Math.ceil(error.wait);
  const tell = () => (rest.textContent = `Another try in ${seconds} s.`);
  tell();
  place.countdown = setInterval(() => (--seconds > 0 ? tell() : retry()), 1000);
}

$("gate").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  sessionStorage.setItem("token", token);
  $("token").value = "";
  $("gate").hidden = true;
  $("gate").again(1);
});
