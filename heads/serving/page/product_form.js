/** The form for a product: a picture, a text, cells of columns. */

import { $, make } from "./elements.js";

const DEBOUNCE_MS = 300; // after the last letter
const MOST_OPTIONS = 100; // of a list to choose from; longer lists are typed into

let picture = null; // a File
let mostBytes = Infinity; // that the server reads
let notify = () => {}; // called when the product has changed

export const hasPicture = () => picture !== null;
export const isEmpty = () => ![...formData({}).keys()].length;

/** Return the product and further fields, as a form to send. */
export function formData(fields) {
  const form = new FormData();
  if (picture) form.set("image", picture);
  if ($("text").value.trim()) form.set("text", $("text").value);
  for (const field of $("cells").querySelectorAll("input, select")) if (field.value) form.set(field.name, field.value);
  for (const [name, value] of Object.entries(fields)) form.set(name, value);
  return form;
}

/** Make the fields that the server's heads look at. */
export function makeFields(about) {
  mostBytes = about.limits?.body_bytes ?? Infinity;
  $("picture-field").hidden = !about.modalities.includes("image");
  $("text-field").hidden = !about.modalities.includes("text");
  const columns = about.text_columns.join(", ");
  $("text-columns").textContent = columns.toLowerCase() === "title" ? "" : columns; // its label says "Title"
  $("text").maxLength = about.limits?.characters ?? -1;
  $("cells").replaceChildren(...about.metadata_columns.map(cell));
}

function cell({ name, kind, categories }) {
  const id = `cell-${name}`;
  const options = (categories ?? []).filter(Boolean).map((category) => make("option", { value: category }, category));
  const row = make("div", { classes: "field" }, make("label", { htmlFor: id }, name));
  if (options.length && options.length <= MOST_OPTIONS) {
    row.append(make("select", { id, name }, make("option", { value: "" }, "not known"), ...options));
    return row;
  }
  const inputMode = kind === "number" ? "decimal" : "text";
  const field = make("input", { id, name, type: kind === "date" ? "date" : "text", inputMode });
  field.setAttribute("list", `${id}-options`);
  row.append(field, make("datalist", { id: `${id}-options` }, ...options));
  return row;
}

/** Replace the picture by another, or by none. */
function setPicture(file) {
  if (file && file.size > mostBytes) {
    $("picture-status").textContent = `Not taken: the server reads ${Math.floor(mostBytes / 1e6)} MB at most.`;
    $("picture-status").hidden = false;
    return;
  }
  if ($("preview").src) URL.revokeObjectURL($("preview").src);
  picture = file ?? null;
  $("picture").value = "";
  $("drop").classList.toggle("full", Boolean(picture));
  $("preview").hidden = !picture;
  $("drop-icon").toggleAttribute("hidden", Boolean(picture));
  $("remove").hidden = !picture;
  $("picture-words").textContent = picture ? "Replace the picture" : "Choose a picture";
  const size = picture && Math.max(1, Math.round(picture.size / 1000)).toLocaleString();
  $("picture-hint").textContent = picture ? `${picture.name}, ${size} kB` : "or drop it anywhere, or paste it";
  $("picture-status").hidden = true;
  if (picture) $("preview").src = URL.createObjectURL(picture);
  else $("preview").removeAttribute("src");
  notify();
}

/** Listen to input, drops and pastes; `changed(ms)` is called at each change, with how long to wait for another. */
export function listen(changed) {
  notify = changed;
  $("preview").addEventListener("error", () => { // a format that the browser cannot show
    $("preview").hidden = true;
    $("drop-icon").toggleAttribute("hidden", false);
  });
  $("picture").addEventListener("change", () => $("picture").files.length && setPicture($("picture").files[0]));
  $("remove").addEventListener("click", () => {
    setPicture(null);
    $("picture").focus();
  });
  $("product").addEventListener("submit", (event) => event.preventDefault());
  $("product").addEventListener("reset", () => setTimeout(() => {
    setPicture(null);
    $("picture").focus();
  }));
  $("product").addEventListener("input", ({ target }) => {
    if (target !== $("picture")) changed(target.matches("select") ? 0 : DEBOUNCE_MS);
  });
  document.addEventListener("paste", (event) => {
    const [file] = event.clipboardData.files;
    if (file) event.preventDefault();
    if (file) setPicture(file);
  });
  let depth = 0; // dragenter and dragleave come for each element on the way
  const onDrag = (type, act) => document.addEventListener(type, (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    act(event);
    $("drop").classList.toggle("over", depth > 0);
  });
  onDrag("dragenter", () => depth++);
  onDrag("dragleave", () => depth--);
  onDrag("dragover", () => {});
  onDrag("drop", (event) => {
    depth = 0;
    setPicture(event.dataTransfer.files[0]);
  });
}
