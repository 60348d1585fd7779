// The live log: what the stream tells, newest first, filtered, and stopped while somebody reads.

import { field, h, say, select } from "./dom.js";
import { sessionPath } from "./api.js";
import * as live from "./live.js";
import { chip, clock, duration, failure, preview, who } from "./show.js";
import { t, word } from "./words.js";

const TYPES = ["message.received", "message.status", "message.dead_letter", "message.edited", "message.deleted", "session.state", "session.qr", "session.reconnect_loop", "session.marketing_paused", "template.status", "account.update", "provider.event"];
/** New entries are told to a screen reader together, no more often than this. */
const TOLD_EVERY = 4000;

/** The page of its own, for all sessions. */
export function logView() {
  const panel = logPanel({});
  return {
    title: t("log.title"),
    element: h("div", { class: "view" },
      h("div", { class: "head" }, h("h1", { tabindex: "-1" }, t("log.title")), h("span", { class: "hint" }, t("log.hint", { most: live.MOST }))),
      panel.element),
    stop: panel.stop,
  };
}

/** The log with its filters: {element, stop}. With `session` it is that one's alone. */
export function logPanel({ session = null }) {
  const gone = new AbortController();
  const list = h("ol", { class: session === null ? "log" : "log one", "aria-label": t("log.title") });
  const empty = h("p", { class: "empty" }, t("log.none"));
  const sessions = h("datalist", { id: "log-sessions" });
  const only = h("input", { name: "session", list: "log-sessions", autocomplete: "off", spellcheck: "false" });
  const type = select({ name: "type" }, [["", t("all")], ...TYPES.map((each) => [each, `${word("type", each)} (${each})`])], "");
  const pause = h("button", { type: "button", "aria-pressed": "false" }, t("log.pause"));
  const clear = h("button", { type: "button" }, t("log.clear"));
  const held = h("span", { class: "hint", role: "status" });

  let waiting = []; // entries that are not drawn yet
  let untold = [];
  let paused = false;
  let planned = false;
  let from = 0; // entries before this one were cleared away

  const wanted = (entry) => entry.n > from && (type.value === "" || entry.type === type.value || entry.type === "stream")
    && (entry.type === "stream" || (session === null ? only.value.trim() === "" || entry.data.sessionId === only.value.trim() : entry.data.sessionId === session));

  function flush() {
    planned = false;
    if (paused) { held.textContent = t("log.paused", { count: waiting.length }); return; }
    list.prepend(...waiting.map(drawEntry).reverse());
    waiting = [];
    while (list.childElementCount > live.MOST) list.lastElementChild.remove();
    empty.hidden = list.childElementCount > 0;
  }

  function again() {
    list.replaceChildren();
    waiting = live.entries.filter(wanted);
    held.textContent = "";
    flush();
  }

  live.onEntry((entry) => {
    if (session === null && entry.data.sessionId && ![...sessions.children].some((each) => each.value === entry.data.sessionId) && sessions.childElementCount < 200) {
      sessions.append(h("option", { value: entry.data.sessionId }));
    }
    if (!wanted(entry)) return;
    waiting.push(entry);
    if (waiting.length > live.MOST) waiting.shift();
    untold.push(entry);
    if (!planned) { planned = true; requestAnimationFrame(flush); } // many at once are drawn once
  }, gone.signal);

  const teller = setInterval(() => {
    if (untold.length && !paused) say(t("log.came", { count: untold.length, what: `${word("type", untold.at(-1).type)} ${summary(untold.at(-1))}` }));
    untold = [];
  }, TOLD_EVERY);

  only.addEventListener("input", again);
  type.addEventListener("change", again);
  clear.addEventListener("click", () => { from = live.entries.at(-1)?.n ?? 0; again(); });
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = t(paused ? "log.resume" : "log.pause");
    held.textContent = "";
    flush();
  });
  for (const entry of live.entries) if (session === null && entry.data.sessionId && ![...sessions.children].some((each) => each.value === entry.data.sessionId)) sessions.append(h("option", { value: entry.data.sessionId }));
  again();

  return {
    element: h("div", { class: "panel" },
      h("form", { class: "filters", role: "search", "aria-label": t("log.filter"), onsubmit: (event) => event.preventDefault() },
        session === null ? [field(t("log.session"), only), sessions] : null,
        field(t("log.type"), type), h("div", { class: "buttons" }, pause, clear), held),
      list, empty),
    stop() { gone.abort(); clearInterval(teller); },
  };
}

function drawEntry(entry) {
  if (entry.type === "stream") {
    return h("li", { class: "break" }, h("time", { datetime: entry.at }, clock(entry.at)), h("b", {}, summary(entry)));
  }
  const { sessionId, messageId } = entry.data;
  const details = h("details", {}, h("summary", {},
    h("time", { datetime: entry.at }, clock(entry.at)),
    h("span", { class: `type ${entry.type.split(".")[0]}`, title: entry.type }, word("type", entry.type)),
    h("span", { class: "whose" }, sessionId ?? ""),
    h("span", { class: "says" }, says(entry))));
  details.addEventListener("toggle", () => { // most are never opened
    if (details.childElementCount > 1) return;
    details.append(h("div", { class: "inside" },
      messageId ? h("a", { href: `#/messages/${encodeURIComponent(messageId)}` }, t("log.open")) : null,
      sessionId ? h("a", { href: `#${sessionPath(sessionId)}` }, sessionId) : null,
      failure(entry.data.error),
      h("pre", { tabindex: "0" }, JSON.stringify({ type: entry.type, timestamp: entry.at, data: entry.data }, null, 2))));
  });
  return h("li", {}, details);
}

/** What happened, in a line with a chip where there is a state. */
function says({ type, data }) {
  switch (type) {
    case "message.status": return [`${who(data)} `, chip("status", data.status), data.error ? ` ${data.error.code}` : ""];
    case "message.dead_letter": return [`${who(data)} `, chip("status", data.status), data.error ? ` ${data.error.code}` : ""];
    case "session.state": return [data.previous ? `${word("state", data.previous)} → ` : "", chip("state", data.state), data.reason ? ` ${data.reason.code}` : ""];
    default: return summary({ type, data });
  }
}

/** The same without any element, to be heard. */
function summary({ type, data }) {
  switch (type) {
    case "stream": return t(`log.${data.what}`);
    case "message.received": return t("says.from", { who: who(data), what: preview(data) });
    case "message.edited": return t("says.from", { who: who(data.data), what: preview(data.data) });
    case "message.deleted": return who(data.data);
    case "message.status": case "message.dead_letter": return t("says.to", { who: who(data), status: word("status", data.status) });
    case "session.state": return t("says.state", { before: word("state", data.previous ?? ""), after: word("state", data.state) });
    case "session.qr": return t("says.qr");
    case "session.reconnect_loop": return t("says.loop", { losses: data.losses, time: duration(data.periodSeconds) });
    case "session.marketing_paused": return t("says.marketing", { number: data.number ?? data.sessionId, time: clock(data.until) });
    default: return JSON.stringify(data.data ?? data);
  }
}
