// Messages of both directions: the list with its filters, and one with its history.

import { busy, field, h, rows, say, select } from "./dom.js";
import { get, post, sessionPath } from "./api.js";
import * as live from "./live.js";
import { chip, clock, failure, preview, problemBox, raw, showProblem, terms, when, who } from "./show.js";
import { t, word } from "./words.js";

const STATUSES = ["scheduled", "queued", "sending", "accepted", "sent", "delivered", "read", "played", "failed", "cancelled", "expired", "unknown", "received", "answered", "done", "dead"];

export const messagePath = (id) => `/messages/${encodeURIComponent(id)}`;

/** The steps of a sent message, each with its time and what went wrong. */
export function steps(message) {
  return h("ol", { class: "steps" }, message.history.map((step) => h("li", {}, chip("status", step.status), " ", when(step.at),
    step.note ? h("span", { class: "soft", lang: "en" }, ` ${step.note}`) : null, failure(step.error))));
}

/** Error and doubts of a message, for a list. */
export const troubles = (message) => [
  failure(message.error),
  message.maybeDuplicate ? h("p", { class: "todo" }, t("message.twice")) : null,
];

// --- the list ------------------------------------------------------------------------------------

export function messagesView() {
  const gone = new AbortController();
  const text = (name, more = {}) => h("input", { name, autocomplete: "off", spellcheck: "false", ...more });
  const filters = {
    sessionId: text("sessionId"),
    direction: select({ name: "direction" }, [["", t("all")], ...["inbound", "outbound"].map((each) => [each, word("direction", each)])], ""),
    status: select({ name: "status" }, [["", t("all")], ...STATUSES.map((each) => [each, word("status", each)])], ""),
    to: text("to", { type: "tel" }),
    from: text("from", { type: "tel" }),
    since: text("since", { type: "datetime-local" }),
  };
  const problem = problemBox();
  const asOf = h("span", { class: "hint" });
  const newer = h("button", { type: "button", class: "link" }, t("refresh"));
  const body = h("tbody", { role: "rowgroup" });
  const heads = ["when", "direction", "who", "what", "status"].map((name) => h("th", { scope: "col", role: "columnheader" }, t(`messages.${name}`)));
  const table = h("table", { class: "list messages", role: "table", "aria-label": t("messages.title"), hidden: true },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads)), body);
  const empty = h("p", { class: "empty", role: "status" }, t("loading"));
  const more = h("button", { type: "button", hidden: true }, t("more"));
  const search = h("button", { type: "submit", class: "primary" }, t("messages.apply"));

  let items = [];
  let cursor = null;
  let since = 0; // how much happened after the list was loaded

  const query = () => {
    const asked = Object.fromEntries(Object.entries(filters).map(([name, control]) => [name, control.value.trim()]));
    return { ...asked, since: asked.since ? new Date(asked.since).toISOString() : "" };
  };

  async function load(next = null) {
    try {
      const part = await get("/messages", { ...query(), cursor: next }, { signal: gone.signal });
      items = next === null ? part.items : [...items, ...part.items];
      cursor = part.next;
      if (next === null) { since = 0; newer.textContent = t("refresh"); asOf.textContent = t("asof", { time: clock(Date.now()) }); }
      showProblem(problem, null);
      rows(body, items, (each) => each.messageId, drawMessage);
      more.hidden = cursor === null;
      table.hidden = items.length === 0;
      empty.hidden = items.length > 0;
      empty.textContent = t("messages.none");
    } catch (error) {
      if (!gone.signal.aborted) showProblem(problem, error);
    }
  }

  live.onEntry((entry) => {
    if (!entry.type.startsWith("message.")) return;
    since += 1;
    newer.textContent = t("messages.newer", { count: since });
  }, gone.signal);
  newer.addEventListener("click", () => busy(newer, () => load()));
  more.addEventListener("click", () => busy(more, () => load(cursor)));
  load();

  const labels = { sessionId: "log.session", direction: "messages.direction", status: "messages.status", to: "messages.to", from: "messages.from", since: "messages.since" };
  return {
    title: t("messages.title"),
    element: h("div", { class: "view" },
      h("div", { class: "head" }, h("h1", { tabindex: "-1" }, t("messages.title")), asOf, newer),
      h("form", { class: "filters", role: "search", "aria-label": t("messages.filter"), onsubmit: (event) => { event.preventDefault(); busy(search, () => load()); } },
        Object.entries(filters).map(([name, control]) => field(t(labels[name]), control)), h("div", { class: "buttons" }, search)),
      problem, table, empty, h("div", { class: "actions" }, more)),
    refresh: () => { if (items.length === 0) load(); }, // a list that somebody reads does not move by itself
    stop() { gone.abort(); },
  };
}

function drawMessage(message) {
  const cell = (name, ...content) => h("td", { role: "cell", "data-label": t(`messages.${name}`) }, content);
  return h("tr", { role: "row" },
    h("th", { scope: "row", role: "rowheader", class: "main" },
      h("a", { href: `#${messagePath(message.messageId)}`, "data-act": "open" }, when(message.createdAt ?? message.receivedAt)),
      h("div", { class: "soft" }, message.sessionId)),
    cell("direction", word("direction", message.direction)),
    cell("who", who(message)),
    cell("what", h("span", { class: "clamped" }, preview(message)), troubles(message)),
    cell("status", chip("status", message.status)));
}

// --- one message ---------------------------------------------------------------------------------

export function messageView(id) {
  const gone = new AbortController();
  const problem = problemBox();
  const state = h("span", { class: "now" });
  const body = h("div");
  const cancel = h("button", { type: "button", hidden: true }, t("message.cancel"));

  async function look() {
    try {
      draw(await get(messagePath(id), {}, { signal: gone.signal }));
      showProblem(problem, null);
    } catch (error) {
      if (!gone.signal.aborted) showProblem(problem, error);
    }
  }

  function draw(message) {
    state.replaceChildren(chip("status", message.status));
    cancel.hidden = !["queued", "scheduled"].includes(message.status);
    body.replaceChildren(h("div", { class: "cards" },
      h("section", { class: "card", "aria-labelledby": "what-title" }, h("h2", { id: "what-title" }, t("messages.what")),
        h("p", { class: "said" }, preview(message)), troubles(message),
        terms([
          [t("messages.direction"), word("direction", message.direction)],
          [t("messages.who"), who(message)],
          [t("log.session"), h("a", { href: `#${sessionPath(message.sessionId)}` }, message.sessionId)],
          [t("messages.when"), when(message.createdAt ?? message.receivedAt)],
          [t("message.attempts"), String(message.attempts)],
          [t("message.next"), message.nextAttemptAt ? when(message.nextAttemptAt) : null],
          [t("message.expires"), message.expiresAt ? when(message.expiresAt) : null],
          [t("message.reference"), message.reference],
          [t("message.id"), h("code", {}, message.messageId)],
          [t("message.provider_id"), message.providerMessageId ? h("code", {}, message.providerMessageId) : null],
        ]), raw(message)),
      h("section", { class: "card", "aria-labelledby": "history-title" }, h("h2", { id: "history-title" }, t("message.history")),
        message.history ? steps(message) : h("p", { class: "soft" }, t("message.history.none")))));
  }

  cancel.addEventListener("click", () => busy(cancel, async () => {
    try {
      draw(await post(`${messagePath(id)}/cancel`));
      say(t("message.cancelled"));
      body.closest(".view").querySelector("h1").focus(); // the button has gone
    } catch (error) {
      if (error.status === undefined) throw error;
      showProblem(problem, error);
    }
  }));
  live.onEntry((entry) => { if (entry.data.messageId === id) look(); }, gone.signal);
  look();

  return {
    title: t("message.title"),
    element: h("div", { class: "view" },
      h("p", { class: "back" }, h("a", { href: "#/messages" }, t("message.back"))),
      h("div", { class: "head" }, h("h1", { tabindex: "-1" }, t("message.title")), state, h("div", { class: "buttons" }, cancel)), problem, body),
    refresh: look,
    stop() { gone.abort(); },
  };
}
