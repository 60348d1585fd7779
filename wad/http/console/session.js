// One session: how it is, what can be done about it, its pairing, a test message, and what happens to it.

import { ask, busy, h, say } from "./dom.js";
import { call, get, post, sessionPath } from "./api.js";
import { credentialsDialog } from "./create.js";
import * as live from "./live.js";
import { logPanel } from "./log.js";
import { pairingCard } from "./pairing.js";
import { providerLabel } from "./providers.js";
import { repeat } from "./repeat.js";
import { ago, chip, problemBox, queueText, raw, reasonLines, showProblem, terms, when } from "./show.js";
import { trialCard } from "./trial.js";
import { t, word } from "./words.js";

const EVERY = 3000; // the status is from memory: asking costs nothing
const WAIT = { headers: { Prefer: "wait=10" } };

export function sessionView(id) {
  const gone = new AbortController();
  const asked = { signal: gone.signal };
  const problem = problemBox();
  const title = h("h1", { tabindex: "-1" }, id);
  const state = h("span", { class: "now" });
  const reason = h("div", { class: "reason" });
  const facts = h("div");
  const account = h("div");
  const log = logPanel({ session: id });
  const trial = trialCard(id);
  const pairing = pairingCard(id);
  pairing.element.hidden = true;

  let session = null;
  let pairs = false; // whether its provider pairs with a phone at all
  let before = null;

  const press = (name, action, attributes = {}) => {
    const button = h("button", { type: "button", ...attributes }, t(`session.${name}`));
    button.addEventListener("click", () => busy(button, async () => {
      try { showProblem(problem, null); await action(); } catch (error) {
        if (error.status === undefined) throw error;
        showProblem(problem, error);
      }
    }));
    return button;
  };
  const connect = press("connect", async () => update(await post(sessionPath(id, "/connect"), undefined, WAIT)), { class: "primary" });
  const disconnect = press("disconnect", async () => update(await post(sessionPath(id, "/disconnect"), undefined, WAIT)));
  const logout = press("logout", async () => {
    if (await ask(t("session.logout.ask", { session: id }), t("session.logout.text"), t("session.logout"))) update(await post(sessionPath(id, "/logout")));
  });
  const change = press("credentials", async () => credentialsDialog(session, () => looking.now()), { hidden: true });
  const remove = press("delete", async () => {
    if (!await ask(t("session.delete.ask", { session: id }), t("session.delete.text"), t("session.delete"))) return;
    await call("DELETE", sessionPath(id));
    say(t("session.deleted", { session: id }));
    location.hash = "#/sessions";
  }, { class: "danger" });
  const buttons = h("div", { class: "buttons" }, connect, disconnect, change, logout, remove);
  const card = (name, ...content) => h("section", { class: "card", "aria-labelledby": `${name}-title` }, h("h2", { id: `${name}-title` }, t(`session.${name}`)), content);
  const cards = h("div", { class: "desk" },
    h("div", { class: "column" }, pairing.element, trial.element, card("recent", log.element)),
    h("div", { class: "column" }, card("status", facts), card("account", account)));

  async function look() {
    try {
      const status = await get(sessionPath(id, "/status"), {}, asked);
      if (session === null || status.state !== before) {
        const [whole, can] = await Promise.all([get(sessionPath(id), {}, asked), get(sessionPath(id, "/capabilities"), {}, asked)]);
        session = whole;
        pairs = can.pairing;
        drawAccount();
      }
      update(status);
      return null;
    } catch (error) {
      if (gone.signal.aborted) return null;
      if (error.status === 404) missing(error);
      else if (!error.isOutage) showProblem(problem, error);
      return error.retryAt;
    }
  }

  function missing(error) {
    looking.stop();
    showProblem(problem, error);
    for (const part of [buttons, cards, state, reason]) part.hidden = true;
  }

  function update(status) {
    if (before !== null && before !== status.state) {
      say(t("sessions.changed", { session: id, state: word("state", status.state) }));
      trial.changed();
    }
    before = status.state;
    state.replaceChildren(chip("state", status.state));
    reason.replaceChildren(...reasonLines(status));
    reason.className = `reason ${status.reason ? (status.reason.needsPerson ? "bad" : "warn") : ""}`;
    reason.hidden = status.reason === null;
    facts.replaceChildren(terms([
      [t("session.wanted"), word("state", status.desiredState)],
      [t("session.since"), when(status.since)],
      [t("sessions.seen"), ago(status.lastSeen)],
      [t("sessions.queue"), queueText(status.queue)],
      [t("sessions.breaker"), status.breaker === "closed" ? word("breaker", "closed") : chip("breaker", status.breaker)],
      [t("session.inbound"), ago(status.lastInboundAt)],
      [t("session.outbound"), ago(status.lastOutboundAt)],
      [t("session.ack"), ago(status.lastAckAt)],
      [t("session.restarts"), String(status.restarts)],
      [t("session.phone"), status.phoneNumber],
      [t("session.shop"), status.shopId],
      [t("sessions.provider"), providerLabel(status.provider)],
      [t("session.node"), status.node],
    ]));
    const held = document.activeElement; // asked before: what is hidden is not active any more
    connect.hidden = ["connected", "pairing"].includes(status.state);
    disconnect.hidden = status.desiredState === "disconnected";
    logout.hidden = !pairs;
    if (buttons.contains(held) && held.hidden) title.focus();
    pairing.element.hidden = !pairs || ["connected", "degraded"].includes(status.state);
    pairing.update(status);
  }

  function drawAccount() {
    const told = Object.entries(session.connectionData);
    const set = Object.keys(session.credentials);
    change.hidden = set.length === 0;
    account.replaceChildren(
      told.length ? "" : h("p", { class: "soft" }, t("session.account.none")),
      terms([
        ...told.map(([name, value]) => [name, typeof value === "object" ? JSON.stringify(value) : String(value)]),
        [t("session.set"), set.join(", ")],
      ]), raw(session));
  }

  live.onEntry((entry) => {
    if (entry.type === "session.state" && entry.data.sessionId === id) looking.now();
  }, gone.signal);
  const looking = repeat(EVERY, look);

  return {
    title: id,
    element: h("div", { class: "view" },
      h("p", { class: "back" }, h("a", { href: "#/sessions" }, t("session.back"))),
      h("div", { class: "head" }, title, state, buttons), reason, problem, cards),
    refresh: looking.now,
    stop() { gone.abort(); looking.stop(); log.stop(); trial.stop(); pairing.stop(); },
  };
}
