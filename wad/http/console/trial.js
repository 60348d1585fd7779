// Sending a test message, and watching what becomes of it.

import { busy, field, h, mark, say, select } from "./dom.js";
import { get, post } from "./api.js";
import * as live from "./live.js";
import { problemBox, showProblem } from "./show.js";
import { repeat } from "./repeat.js";
import { steps } from "./messages.js";
import { t, word } from "./words.js";

/** It goes no further from here. `unknown` may: proof of it can still come. */
const ENDS = new Set(["read", "played", "failed", "cancelled", "expired"]);
/** Events tell of each step; this is for those that a cut stream did not bring. */
const EVERY = 4000;

/** {element, changed(), stop()} for one session. */
export function trialCard(session) {
  const gone = new AbortController();
  const to = h("input", { name: "to", type: "tel", autocomplete: "off", spellcheck: "false" });
  const kind = select({ name: "kind" }, [["text", t("trial.text")], ["template", t("trial.template")]], "text");
  const text = h("textarea", { name: "text", rows: "2" });
  const template = h("input", { name: "template", autocomplete: "off", spellcheck: "false", autocapitalize: "off" });
  const tongue = h("input", { name: "language", autocomplete: "off", spellcheck: "false", value: "es_MX" });
  const problem = problemBox();
  const button = h("button", { type: "submit", class: "primary" }, t("trial.go"));
  const outcome = h("div", { class: "outcome" });
  const texts = field(t("trial.text"), text);
  const templates = h("div", { class: "fields two", hidden: true }, field(t("trial.template"), template), field(t("trial.language"), tongue));
  const form = h("form", { class: "fields" },
    h("div", { class: "fields two" }, field(t("trial.to"), to, { hint: t("trial.to.hint") }), field(t("trial.kind"), kind)),
    texts, templates, problem, h("div", { class: "actions" }, button));

  let key = newKey(); // of what the form says now
  let watched = null; // a message's id
  let watching = null;

  const fresh = () => { key = newKey(); };
  form.addEventListener("input", fresh);
  kind.addEventListener("change", () => { texts.hidden = kind.value !== "text"; templates.hidden = kind.value === "text"; });

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(button, async () => {
      const address = to.value.trim();
      const content = kind.value === "text"
        ? { text: text.value }
        : { template: { name: template.value.trim(), language: tongue.value.trim() } };
      const places = { "/to": to, "/text/body": text, "/text": text, "/template/name": template, "/template/language/code": tongue, "/template/language": tongue };
      for (const input of new Set(Object.values(places))) mark(input, null);
      showProblem(problem, null);
      try {
        const sent = await post("/send", { sessionId: session, to: address.includes("@") ? address : address.replace(/[\s().-]/g, ""), ...content }, { headers: { "Idempotency-Key": key } });
        fresh();
        say(t("trial.taken", { status: word("status", sent.status) }));
        watch(sent.messageId);
      } catch (error) {
        if (error.status === undefined) throw error;
        const marked = error.errors.filter((each) => each.pointer in places);
        for (const each of marked) mark(places[each.pointer], each.detail);
        showProblem(problem, error, marked.map((each) => each.pointer));
        if (error.status === 0) problem.append(h("p", {}, t("trial.repeat"))); // the same key: it is sent once
        form.querySelector("[aria-invalid]")?.focus();
      }
    });
  });

  function watch(messageId) {
    watching?.stop();
    watched = messageId;
    delete outcome.dataset.status;
    watching = repeat(EVERY, () => look(messageId));
  }

  async function look(messageId) {
    try {
      const message = await get(`/messages/${encodeURIComponent(messageId)}`, {}, { signal: gone.signal });
      if (watched !== messageId) return null;
      const before = outcome.dataset.status;
      outcome.dataset.status = message.status;
      outcome.replaceChildren(h("h3", {}, t("trial.steps")), steps(message),
        h("p", {}, h("a", { href: `#/messages/${encodeURIComponent(messageId)}` }, t("trial.open"))));
      if (before && before !== message.status) say(word("status", message.status));
      if (ENDS.has(message.status)) watching.stop();
      return null;
    } catch (error) {
      if (!gone.signal.aborted && !error.isOutage) showProblem(problem, error);
      return error.retryAt ?? null;
    }
  }

  live.onEntry((entry) => { if (watched !== null && entry.data.messageId === watched) watching.now(); }, gone.signal);

  return {
    /** The session is in another state: what it refused before says nothing any more. */
    changed: () => showProblem(problem, null),
    element: h("section", { class: "card", "aria-labelledby": "trial-title" }, h("h2", { id: "trial-title" }, t("trial.title")), form, outcome),
    stop() { gone.abort(); watching?.stop(); },
  };
}

/** `crypto.randomUUID` is for https alone, and a console on a LAN may have none. */
const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
