// The console: who is signed in, which view is shown, and whether what it shows is still true.

import { $, h, say } from "./dom.js";
import { get, hold, onAnswer } from "./api.js";
import * as live from "./live.js";
import { createDialog } from "./create.js";
import { deadLettersView } from "./dead.js";
import { logView } from "./log.js";
import { messageView, messagesView } from "./messages.js";
import { sessionView } from "./session.js";
import { sessionsView } from "./sessions.js";
import { signInView } from "./signin.js";
import { clock, tick } from "./show.js";
import { language, speak, t } from "./words.js";

const KEPT = "wad.token"; // in sessionStorage: the tab's own, gone with it

const ROUTES = [
  [/^\/sessions$/, () => sessionsView({ create: createDialog })],
  [/^\/sessions\/([^/]+)$/, sessionView],
  [/^\/log$/, logView],
  [/^\/messages$/, messagesView],
  [/^\/messages\/([^/]+)$/, messageView],
  [/^\/dead-letters$/, deadLettersView],
];

let shown = null; // the view on the page
let signedIn = false;
let newDead = 0;

// --- views ---------------------------------------------------------------------------------------

const path = () => (location.hash.startsWith("#/") ? location.hash.slice(1) : "/sessions");

function show(view, { focus }) {
  shown?.stop();
  shown = view;
  $("main").replaceChildren(view.element);
  document.title = `${view.title} · wad`;
  if (focus) { (view.focus ?? (() => $("main").querySelector("h1")?.focus()))(); scrollTo(0, 0); }
}

function route({ focus = true } = {}) {
  if (!signedIn) return;
  const [where] = path().split("?");
  for (const link of $("nav").querySelectorAll("a")) {
    const here = where.startsWith(link.getAttribute("href").slice(1));
    if (here) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  if (where === "/dead-letters") countDead(0);
  for (const [pattern, make] of ROUTES) {
    const found = pattern.exec(where);
    if (found) { show(make(...found.slice(1).map(decoded)), { focus }); return; }
  }
  show({ title: "404", element: h("h1", { tabindex: "-1" }, t("page.missing")), stop() {} }, { focus });
}

function decoded(part) {
  try { return decodeURIComponent(part); } catch { return part; } // not one of our own links
}

// --- signing in and out --------------------------------------------------------------------------

function enter(token) {
  hold(token);
  sessionStorage.setItem(KEPT, token);
  signedIn = true;
  frame();
  live.listen();
  route();
}

function leave(why) {
  sessionStorage.removeItem(KEPT);
  hold(null);
  signedIn = false;
  live.stop();
  countDead(0);
  fresh();
  frame();
  show(signInView({ entered: enter, why }), { focus: true });
}

function frame() {
  for (const part of [$("nav"), $("sign-out"), $("live")]) part.hidden = !signedIn;
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  $("nav").setAttribute("aria-label", t("nav"));
  document.documentElement.lang = language();
  $("language").value = language();
  drawLive();
  countDead(newDead);
}

$("sign-out").addEventListener("click", () => leave(t("signin.bye")));
$("language").addEventListener("change", () => {
  speak($("language").value);
  frame();
  drawStale();
  if (signedIn) route({ focus: false }); else show(signInView({ entered: enter }), { focus: false });
});
$("skip").addEventListener("click", (event) => { event.preventDefault(); $("main").focus(); });
addEventListener("hashchange", () => route());

// --- is it true? ---------------------------------------------------------------------------------

let stale = null; // {since, problem}: wad has not answered since then
let asking = null;

onAnswer((problem) => {
  if (problem?.status === 401 && signedIn) { leave(t("signin.gone")); return; }
  if (!problem?.isOutage) { fresh(); return; }
  if (!signedIn) return; // the form tells
  stale = { since: stale?.since ?? Date.now(), problem };
  drawStale();
  if (asking === null) askAgain(2000);
});

/** While wad is silent: ask now and then, and have the view look again once it answers. */
function askAgain(pause) {
  const wait = Math.max(pause, (stale.problem.retryAt ?? 0) - Date.now());
  asking = setTimeout(async () => {
    try { await get("/sessions", { limit: 1 }); } catch (error) { if (signedIn && stale && error.isOutage) askAgain(Math.min(15_000, pause * 1.5)); }
  }, wait);
}

function fresh() {
  clearTimeout(asking);
  asking = null;
  if (stale === null) return;
  stale = null;
  drawStale();
  if (!signedIn) return;
  say(t("stale.over"));
  live.tryNow();
  shown?.refresh?.();
}

function drawStale() {
  document.body.classList.toggle("stale", stale !== null);
  $("trouble").hidden = stale === null;
  if (stale === null) { $("trouble").textContent = ""; return; }
  const said = { time: clock(stale.since), detail: stale.problem.detail };
  const text = t(stale.problem.status === 0 ? "stale.silent" : "stale.refusing", said);
  if ($("trouble").textContent !== text) $("trouble").textContent = text;
}

function drawLive() {
  const now = live.state;
  const on = now?.live ?? false;
  $("live").className = `live ${on ? "on" : now === null ? "" : "cut"}`;
  if (on) $("live").replaceChildren(t("live.on"));
  else if (now === null) $("live").replaceChildren(t("live.connecting"));
  else {
    $("live").replaceChildren(`${t("live.cut")}, ${t("live.again", { time: clock(now.retryAt) })} `,
      h("button", { type: "button", class: "link", onclick: live.tryNow }, t("live.try")));
  }
  document.body.classList.toggle("unheard", signedIn && now !== null && !on);
}

live.onState((now) => {
  if (now.problem?.status === 401) { leave(t("signin.gone")); return; }
  drawLive();
  if (now.live) shown?.refresh?.();
});

live.onEntry((entry) => { if (entry.type === "message.dead_letter" && path() !== "/dead-letters") countDead(newDead + 1); });

function countDead(count) {
  newDead = count;
  $("new-dead").hidden = count === 0;
  $("new-dead").textContent = count === 0 ? "" : t("dead.new", { count: count > 99 ? "99+" : count });
}

// --- begin ---------------------------------------------------------------------------------------

setInterval(tick, 1000);
frame();
const kept = sessionStorage.getItem(KEPT);
if (kept === null) leave(null); else enter(kept);
