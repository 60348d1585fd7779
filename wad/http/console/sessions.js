// The list of sessions, each as it is right now.

import { busy, field, h, rows, select } from "./dom.js";
import { get, sessionPath } from "./api.js";
import * as live from "./live.js";
import { providerLabel, PROVIDERS } from "./providers.js";
import { repeat } from "./repeat.js";
import { ago, chip, clock, problemBox, queueText, reasonLines, showProblem } from "./show.js";
import { t, word } from "./words.js";

const STATES = ["created", "connecting", "pairing", "connected", "degraded", "disconnected", "logged_out", "bad_credentials", "failed"];
const EVERY = 5000; // between looks; events tell of most changes earlier

/** The view. `create` asks for a new session. */
export function sessionsView({ create }) {
  const gone = new AbortController();
  const state = select({ name: "state" }, [["", t("all")], ...STATES.map((each) => [each, word("state", each)])], "");
  const provider = select({ name: "provider" }, [["", t("all")], ...Object.keys(PROVIDERS).map((each) => [each, providerLabel(each)])], "");
  const problem = problemBox();
  const asOf = h("span", { class: "hint" });
  const body = h("tbody", { role: "rowgroup" });
  const empty = h("p", { class: "empty", role: "status" }, t("loading"));
  const heads = ["id", "state", "provider", "queue", "breaker", "seen"].map((name) => h("th", { scope: "col", role: "columnheader" }, t(`sessions.${name}`)));
  const table = h("table", { class: "list sessions", role: "table", "aria-label": t("sessions.title"), hidden: true },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads)), body);
  const more = h("button", { type: "button", hidden: true }, t("more"));
  const add = h("button", { type: "button", class: "primary" }, t("sessions.new"));

  let known = new Map(); // id → the session
  let pages = 1;

  function draw() {
    // An event may have told of another state since the list was asked for.
    const items = [...known.values()].filter((each) => state.value === "" || each.state === state.value);
    rows(body, items, (each) => each.sessionId, drawSession);
    table.hidden = items.length === 0;
    empty.hidden = items.length > 0;
    empty.textContent = t(state.value || provider.value ? "sessions.nomatch" : "sessions.none");
  }

  async function look() {
    try {
      const found = [];
      let cursor = null;
      for (let page = 0; page < pages; page += 1) {
        const part = await get("/sessions", { state: state.value, provider: provider.value, cursor }, { signal: gone.signal });
        found.push(...part.items);
        cursor = part.next;
        if (cursor === null) break;
      }
      more.hidden = cursor === null;
      known = new Map(found.map((each) => [each.sessionId, shownOf(each)]));
      showProblem(problem, null);
      asOf.textContent = t("asof", { time: clock(Date.now()) });
      draw();
      return Date.now() + (pages - 1) * EVERY; // long lists less often
    } catch (error) {
      if (gone.signal.aborted) return null;
      if (!error.isOutage) showProblem(problem, error); // an outage has the page's own banner
      return error.retryAt;
    }
  }

  for (const control of [state, provider]) control.addEventListener("change", () => { pages = 1; known.clear(); draw(); empty.textContent = t("loading"); looking.now(); });
  more.addEventListener("click", () => busy(more, () => { pages += 1; return looking.now(); }));
  add.addEventListener("click", () => busy(add, async () => {
    try { await create(); showProblem(problem, null); } catch (error) { if (error.status === undefined) throw error; showProblem(problem, error); }
  }));
  live.onEntry((entry) => {
    if (entry.type !== "session.state") return;
    const { sessionId } = entry.data;
    if (known.has(sessionId)) { known.set(sessionId, shownOf(known.get(sessionId), entry.data)); draw(); } else looking.now();
  }, gone.signal);
  const looking = repeat(EVERY, look);

  return {
    title: t("sessions.title"),
    element: h("div", { class: "view" },
      h("div", { class: "head" }, h("h1", { tabindex: "-1" }, t("sessions.title")), asOf, add),
      h("form", { class: "filters", role: "search", "aria-label": t("sessions.filter"), onsubmit: (event) => event.preventDefault() },
        field(t("sessions.state"), state), field(t("sessions.provider"), provider)),
      problem, table, empty, h("div", { class: "actions" }, more)),
    refresh: looking.now,
    stop() { gone.abort(); looking.stop(); },
  };
}

/** What a row shows, and nothing that changes without being seen. */
function shownOf(session, status) {
  const { sessionId, shopId, provider, phoneNumber, state, reason, lastSeen, nextRetryAt, breaker, queue } = { ...session, ...status };
  return { sessionId, shopId, provider, phoneNumber, state, reason, lastSeen, nextRetryAt, breaker, queue };
}

function drawSession(session) {
  // On a phone what is calm gives way to what is not.
  const cell = (name, calm, ...content) => h("td", { role: "cell", class: calm ? "calm" : null, "data-label": t(`sessions.${name}`) }, content);
  const breaker = session.breaker === "closed" ? h("span", { class: "soft" }, word("breaker", "closed")) : chip("breaker", session.breaker);
  return h("tr", { role: "row" },
    h("th", { scope: "row", role: "rowheader", class: "main" },
      h("a", { href: `#${sessionPath(session.sessionId)}`, "data-act": "open" }, session.sessionId),
      h("div", { class: "soft" }, [session.phoneNumber, session.shopId].filter(Boolean).join(" · "))),
    cell("state", false, chip("state", session.state), reasonLines(session)),
    cell("provider", false, providerLabel(session.provider)),
    cell("queue", session.queue.depth === 0, queueText(session.queue)),
    cell("breaker", session.breaker === "closed", breaker),
    cell("seen", false, ago(session.lastSeen)));
}
