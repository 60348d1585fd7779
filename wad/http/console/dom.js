// Elements and the little that every view does with them. Whatever comes from the API becomes text, never HTML.

import { t } from "./words.js";

export const $ = (id) => document.getElementById(id);

/**
 * An element: h("p", {class: "x", onclick: f}, "text", child, null).
 * Attributes that are null, undefined or false are left out.
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false && child !== ""));
  return element;
}

/**
 * Make `list` show `items`, each as the row that `draw` makes of it. A row whose item says the same as before stays
 * as it is, and focus stays on the same control (by its data-act) of a row that is drawn anew.
 */
export function rows(list, items, key, draw) {
  const before = new Map([...list.children].map((row) => [row.dataset.key, row]));
  const after = items.map((item) => {
    const name = key(item);
    const says = JSON.stringify(item);
    const old = before.get(name);
    if (old !== undefined && old.says === says) return old;
    const row = draw(item);
    row.dataset.key = name;
    row.says = says;
    return row;
  });
  const held = document.activeElement?.closest("[data-act]");
  const act = held && list.contains(held) ? held.dataset.act : null;
  const holder = act ? held.closest("[data-key]").dataset.key : null;
  const place = holder === null ? -1 : [...list.children].findIndex((row) => row.dataset.key === holder);
  // Only what moved is moved: taking an element out, even to put it back, takes the focus away.
  for (const row of [...list.children]) if (!after.includes(row)) row.remove();
  after.forEach((row, index) => { if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null); });
  if (act === null || list.contains(document.activeElement)) return;
  const next = after.find((row) => row.dataset.key === holder) ?? after[Math.min(place, after.length - 1)];
  (next?.querySelector(`[data-act="${act}"]`) ?? $("main").querySelector("h1"))?.focus();
}

/** Tell somebody who cannot see the page what changed on it. */
export function say(text) {
  $("said").textContent = "";
  // A live region speaks of changes: the same text twice would otherwise be heard once.
  requestAnimationFrame(() => { $("said").textContent = text; });
}

/** Run what a button asks for; it stays focused, and deaf, until that is done. */
export async function busy(button, action) {
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  try { await action(); } finally { button.removeAttribute("aria-disabled"); }
}

/** Ask before something that cannot be taken back. True if the person says yes. */
export function ask(title, text, yes) {
  const dialog = $("ask");
  $("ask-title").textContent = title;
  $("ask-text").textContent = text;
  $("ask-yes").textContent = yes;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

let made = 0;

/** A labelled control, with room for what is wrong with it: field(label, input, {hint, optional}). */
export function field(label, control, { hint = null, optional = false } = {}) {
  made += 1;
  control.id ||= `f${made}`;
  const notes = hint === null ? null : h("p", { class: "hint", id: `${control.id}-hint` }, hint);
  const wrong = h("p", { class: "wrong", id: `${control.id}-wrong`, hidden: true });
  control.setAttribute("aria-describedby", [notes?.id, wrong.id].filter(Boolean).join(" "));
  const name = h("label", { for: control.id }, label, optional ? h("span", { class: "hint" }, ` (${t("optional")})`) : null);
  return h("div", { class: "field" }, name, control, notes, wrong);
}

/** Say what is wrong with a control that `field` made, or (null) that nothing is. */
export function mark(control, detail) {
  const wrong = $(`${control.id}-wrong`);
  wrong.textContent = detail ?? "";
  wrong.hidden = detail === null;
  wrong.lang = "en"; // the API's own words
  if (detail === null) control.removeAttribute("aria-invalid");
  else control.setAttribute("aria-invalid", "true");
}

/** A choice of [value, word] pairs. */
export function select(attributes, options, chosen) {
  return h("select", attributes, options.map(([value, word]) => h("option", { value, selected: value === chosen }, word)));
}
