// Dead letters: what gave up, and what to do with it.

import { ask, busy, field, h, rows, say, select } from "./dom.js";
import { call, get, post } from "./api.js";
import * as live from "./live.js";
import { messagePath, troubles } from "./messages.js";
import { repeat } from "./repeat.js";
import { chip, clock, preview, problemBox, showProblem, when, who } from "./show.js";
import { t, word } from "./words.js";

const EVERY = 10_000; // between looks, besides those that an event asks for

export function deadLettersView() {
  const gone = new AbortController();
  const direction = select({ name: "direction" }, [["", t("all")], ...["inbound", "outbound"].map((each) => [each, word("direction", each)])], "");
  const problem = problemBox();
  const done = h("p", { class: "notice", role: "status", hidden: true });
  const asOf = h("span", { class: "hint" });
  const list = h("ul", { class: "letters" });
  const empty = h("p", { class: "empty", role: "status" }, t("loading"));
  const more = h("button", { type: "button", hidden: true }, t("more"));

  let pages = 1;

  async function look() {
    try {
      const items = [];
      let cursor = null;
      for (let page = 0; page < pages; page += 1) {
        const part = await get("/dead-letters", { direction: direction.value, cursor }, { signal: gone.signal });
        items.push(...part.items);
        cursor = part.next;
        if (cursor === null) break;
      }
      more.hidden = cursor === null;
      asOf.textContent = t("asof", { time: clock(Date.now()) });
      rows(list, items, (each) => each.messageId, draw);
      empty.hidden = items.length > 0;
      empty.textContent = t("dead.none");
      return null;
    } catch (error) {
      if (gone.signal.aborted) return null;
      if (!error.isOutage) showProblem(problem, error);
      return error.retryAt;
    }
  }

  /** Do something with one, tell what came of it, and look again. */
  async function act(button, action) {
    await busy(button, async () => {
      try {
        const text = await action();
        if (text === null) return;
        showProblem(problem, null);
        done.textContent = text;
        done.hidden = false;
      } catch (error) {
        if (error.status === undefined) throw error;
        showProblem(problem, error);
      }
    });
    await looking.now();
  }

  function draw(letter) {
    const path = `/dead-letters/${encodeURIComponent(letter.messageId)}`;
    const name = `${who(letter)}, ${preview(letter)}`;
    const retry = h("button", { type: "button", "data-act": "retry", "aria-label": `${t("dead.retry")}: ${name}` }, t("dead.retry"));
    const drop = h("button", { type: "button", class: "danger", "data-act": "delete", "aria-label": `${t("dead.delete")}: ${name}` }, t("dead.delete"));
    retry.addEventListener("click", () => act(retry, async () => {
      if (letter.status === "unknown" && !await ask(t("dead.twice.ask"), t("dead.twice.text"), t("dead.retry"))) return null;
      return t("dead.retried", { status: word("status", (await post(`${path}/retry`)).status) });
    }));
    drop.addEventListener("click", () => act(drop, async () => {
      if (!await ask(t("dead.delete.ask"), t("dead.delete.text"), t("dead.delete"))) return null;
      await call("DELETE", path);
      return t("dead.deleted");
    }));
    return h("li", { class: "letter" },
      h("div", { class: "text" },
        h("p", { class: "line" }, chip("status", letter.status), h("b", {}, who(letter)), h("span", { class: "soft" }, word("direction", letter.direction), " · ", letter.sessionId, " · "), when(letter.updatedAt ?? letter.receivedAt)),
        h("p", { class: "said" }, h("a", { href: `#${messagePath(letter.messageId)}`, "data-act": "open" }, preview(letter) || letter.messageId)),
        troubles(letter)),
      h("div", { class: "buttons" }, retry, drop));
  }

  direction.addEventListener("change", () => { pages = 1; looking.now(); });
  more.addEventListener("click", () => busy(more, () => { pages += 1; return looking.now(); }));
  live.onEntry((entry) => { if (entry.type === "message.dead_letter") looking.now(); }, gone.signal);
  const looking = repeat(EVERY, look);

  return {
    title: t("dead.title"),
    element: h("div", { class: "view" },
      h("div", { class: "head" }, h("h1", { tabindex: "-1" }, t("dead.title")), asOf),
      h("p", { class: "hint" }, t("dead.hint")),
      h("form", { class: "filters", onsubmit: (event) => event.preventDefault() }, field(t("messages.direction"), direction)),
      done, problem, list, empty, h("div", { class: "actions" }, more)),
    refresh: looking.now,
    stop() { gone.abort(); looking.stop(); },
  };
}
