// What both pages share: elements, the control API, text with WhatsApp's marks, dialogs, menus and the wire.
// Nothing here uses innerHTML: whatever a business sends is text.

export const $ = (id) => document.getElementById(id);

/** An element: h("p", {class: "x", onclick: f}, "text", child, null). */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

// The icons are one file for both pages, and part of the document: fetched one by one they would flicker.
const icons = new DOMParser().parseFromString(await (await fetch("/page/icons.svg")).text(), "image/svg+xml").documentElement;
icons.setAttribute("hidden", "");
icons.setAttribute("aria-hidden", "true");
document.body.prepend(document.adoptNode(icons));

export function icon(name, label) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("class", "icon");
  if (label) { svg.setAttribute("role", "img"); svg.setAttribute("aria-label", label); } else svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

// --- the control API ------------------------------------------------------------------------------

export async function call(method, path, body) {
  const response = await fetch(`/_sandbox/${path}`, {
    method,
    headers: body === undefined ? {} : { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error?.message ?? answer.error ?? response.statusText);
  return answer;
}

/** Run what a click asks for, and show what goes wrong instead of losing it. */
export async function trying(action) {
  try { return await action(); } catch (error) { toast(error.message); return undefined; }
}

let toastTimer;
export function toast(text) {
  $("toast").textContent = text;
  $("toast").hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { $("toast").hidden = true; }, 6000);
}

/** A disc with the initials of *name*, in a colour that is always the same for *key*. */
export function avatar(element, key, name) {
  const sum = [...key].reduce((total, char) => total + char.codePointAt(0), 0);
  element.className = `avatar c${sum % 6}`;
  element.textContent = name.replace(/^[@+]/, "").split(/\s+/).slice(0, 2).map((word) => word[0]?.toUpperCase() ?? "").join("");
  return element;
}

export const clock = (at) => new Date(at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
export const day = (at) => new Date(at * 1000).toLocaleDateString([], { weekday: "long", day: "numeric", month: "long" });

// --- the log of a conversation ---------------------------------------------------------------------

// The log stays at its end until somebody scrolls up; pictures that arrive late do not push it away.
let atEnd = true;
export const isAtEnd = () => atEnd;
export function toEnd() { const log = $("log"); log.scrollTop = log.scrollHeight; atEnd = true; }
$("log").addEventListener("scroll", () => { const log = $("log"); atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80; });
$("log").addEventListener("load", () => { if (atEnd) toEnd(); }, { capture: true });

// --- text ------------------------------------------------------------------------------------------

/** WhatsApp's marks: *bold*, _italic_, ~struck~, ```code```, and links. */
export function formatted(text) {
  const pattern = /```([^`]+)```|\*([^\s*](?:[^*\n]*[^\s*])?)\*|(?<![\w])_([^\s_](?:[^_\n]*[^\s_])?)_(?!\w)|~([^\s~](?:[^~\n]*[^\s~])?)~|(https?:\/\/[^\s<>"]+)/g;
  const parts = [];
  let from = 0;
  for (const match of text.matchAll(pattern)) {
    parts.push(text.slice(from, match.index));
    const [, code, bold, italic, struck, link] = match;
    if (code !== undefined) parts.push(h("code", {}, code));
    else if (bold !== undefined) parts.push(h("b", {}, bold));
    else if (italic !== undefined) parts.push(h("i", {}, italic));
    else if (struck !== undefined) parts.push(h("s", {}, struck));
    else parts.push(h("a", { href: link, target: "_blank", rel: "noopener noreferrer" }, link));
    from = match.index + match[0].length;
  }
  parts.push(text.slice(from));
  return parts;
}

export const paragraph = (text, className) => (text ? h("p", { class: className }, ...formatted(String(text))) : null);
export const safeLink = (url) => (/^https?:\/\//i.test(String(url)) ? String(url) : null);

// --- the field one writes in -----------------------------------------------------------------------

/** Grow with what is written, send on Enter; `say(text)` gets it, trimmed and never empty. What it answers false stays. */
export function writing(say) {
  const field = $("composer-text");
  const grow = () => { field.style.height = "auto"; field.style.height = `${field.scrollHeight + 2}px`; };
  field.addEventListener("input", grow);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); $("composer").requestSubmit(); }
  });
  $("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = field.value.trim();
    if (!text || say(text) === false) return;
    field.value = "";
    grow();
  });
}

// --- menus and dialogs -----------------------------------------------------------------------------

/** Show *menu* beside *button*, inside the window. */
export function pop(menu, button) {
  menu.showPopover();
  const at = button.getBoundingClientRect();
  const size = menu.getBoundingClientRect();
  menu.style.left = `${Math.max(8, Math.min(at.left, innerWidth - size.width - 8))}px`;
  menu.style.top = `${Math.max(8, at.top - size.height - 8)}px`;
  menu.querySelector("button").focus();
}

const EMOJI = ["👍", "❤️", "😂", "😮", "🙏", ""];

/** Let somebody choose an emoji beside *button*; an empty one takes a reaction back. */
export function chooseEmoji(button, chosen) {
  const menu = $("react-menu");
  menu.replaceChildren(...EMOJI.map((emoji) => h("button", { type: "button", "aria-label": emoji || "Take the reaction back", onclick: () => {
    menu.hidePopover();
    chosen(emoji);
  } }, emoji || "✕")));
  pop(menu, button);
}

/** Open a dialog whose form is checked, and perhaps saved, before it closes with "ok". */
export function show(dialog, check = () => {}) {
  const form = dialog.querySelector("form");
  const problem = dialog.querySelector(".problem");
  if (problem) problem.textContent = "";
  form.onsubmit = async (event) => {
    event.preventDefault();
    try { await check(new FormData(form)); dialog.close("ok"); } catch (error) { if (problem) problem.textContent = error.message; }
  };
  dialog.querySelector("[data-close]").onclick = () => dialog.close("");
  dialog.returnValue = "";
  dialog.showModal();
}

// --- the wire --------------------------------------------------------------------------------------

export function toggleWire(open) {
  $("wire").hidden = !open;
  $("toggle-wire").setAttribute("aria-pressed", String(open));
  document.querySelector(".panes").classList.toggle("with-wire", open);
  localStorage.setItem("wire", open ? "open" : "");
}
$("toggle-wire").addEventListener("click", () => toggleWire($("wire").hidden));
$("close-wire").addEventListener("click", () => { toggleWire(false); $("toggle-wire").focus(); });

const WIRE = 150; // entries shown
const SAID = {
  send: (entry) => [`${entry.type} → ${entry.to}`, "taken"],
  call: (entry) => [`${entry.operation}${entry.code ? ` · ${entry.message}` : ""}`, entry.status ?? entry.fault],
  event: (entry) => [`${entry.event === "status" ? entry.status : entry.type ?? entry.field}`, entry.callback ? "" : "nobody"],
  delivery: (entry) => [`webhook, attempt ${entry.attempt}`, entry.status ?? entry.error],
  web: (entry) => entry.direction === "out"
    ? [`${entry.type} → ${entry.chat}`, entry.refused.length ? entry.refused.at(-1) : entry.acked.length ? "acked" : "sent"]
    : [`${entry.content?.type ?? "message"} ← ${entry.from}`, entry.read ? "read" : entry.received ? "received" : entry.nacked.length ? entry.nacked.at(-1) : "waiting"],
  link: (entry) => [[entry.event, entry.state ?? entry.change, entry.phone ?? entry.account ?? entry.subject].filter(Boolean).join(" "), entry.device ?? ""],
};
const isBad = (entry) => (["call", "delivery"].includes(entry.kind) && !(entry.status >= 200 && entry.status < 400)) || entry.refused?.length > 0 || entry.nacked?.length > 0;

export function drawEntry(entry) {
  const bad = isBad(entry);
  const words = SAID[entry.kind](entry);
  $("entries").prepend(h("li", {}, h("details", {}, h("summary", {}, h("span", { class: `k ${entry.kind}` }, entry.kind), h("span", { class: "t" }, String(words[0])), h("span", { class: `s${bad ? " bad" : ""}` }, String(words[1] ?? ""))), h("pre", { tabindex: "0" }, JSON.stringify(entry, null, 2)))));
  while ($("entries").childElementCount > WIRE) $("entries").lastElementChild.remove();
}
if (localStorage.getItem("wire") === "open") toggleWire(true);

// --- live ------------------------------------------------------------------------------------------

/** Listen to what happens: a function for each name of event. */
export function listen(acts) {
  const source = new EventSource("/_sandbox/events");
  const live = (on) => { $("live").classList.toggle("on", on); $("live").textContent = on ? "live" : "connecting…"; };
  source.onopen = () => live(true);
  source.onerror = () => live(false);
  for (const [name, act] of Object.entries(acts)) source.addEventListener(name, (event) => act(JSON.parse(event.data)));
}
