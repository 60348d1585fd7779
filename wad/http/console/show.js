// How the console shows what wad says: times, states, people, messages and problems.

import { h } from "./dom.js";
import { has, language, t, word } from "./words.js";
import { serverNow } from "./api.js";

// --- times ---------------------------------------------------------------------------------------

const format = (options) => new Intl.DateTimeFormat(language(), options);
const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };

/** The time of day, with the day where it is not today. */
export function clock(at) {
  const date = new Date(at);
  const today = date.toDateString() === new Date().toDateString();
  return format(today ? CLOCK : { day: "numeric", month: "short", ...CLOCK }).format(date);
}

/** `<time>` of an instant; "never" where there is none. */
export function when(iso) {
  if (!iso) return h("span", { class: "soft" }, t("never"));
  return h("time", { datetime: iso, title: format({ dateStyle: "full", timeStyle: "long" }).format(new Date(iso)) }, clock(iso));
}

/** The same as how long ago it was, kept true by `tick`. */
export function ago(iso) {
  const time = when(iso);
  if (iso) { time.dataset.ago = iso; time.textContent = since(iso); }
  return time;
}

const since = (iso) => t("ago", { time: duration((serverNow() - Date.parse(iso)) / 1000) });

/** 75 → "1 min". */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [unit, size] = [["day", 86400], ["hour", 3600], ["minute", 60]].find(([, each]) => whole >= each) ?? ["second", 1];
  return new Intl.NumberFormat(language(), { style: "unit", unit, unitDisplay: "short" }).format(Math.floor(whole / size));
}

/** 75 → "75 sec": for what is counted down. */
export const seconds = (count) =>
  new Intl.NumberFormat(language(), { style: "unit", unit: "second", unitDisplay: "short" }).format(Math.max(0, count));

/** Keep every "… ago" on the page true. */
export function tick() {
  for (const time of document.querySelectorAll("time[data-ago]")) {
    const text = since(time.dataset.ago);
    if (time.textContent !== text) time.textContent = text;
  }
}

// --- states --------------------------------------------------------------------------------------

const TONES = {
  connected: "ok", connecting: "busy", pairing: "busy", degraded: "warn", created: "mute", disconnected: "mute",
  logged_out: "bad", bad_credentials: "bad", failed: "bad",
  closed: "mute", half_open: "warn", open: "bad", isolated: "bad",
  scheduled: "mute", queued: "busy", sending: "busy", accepted: "busy", sent: "ok", delivered: "ok", read: "ok", played: "ok",
  cancelled: "mute", expired: "bad", unknown: "warn", received: "busy", answered: "busy", done: "ok", dead: "bad",
};

/** A word in a colour that only repeats what the word says. */
export const chip = (group, name) => h("span", { class: `chip ${TONES[name] ?? "mute"}` }, word(group, name));

/** What to do about a session's reason. */
export function todo({ code, needsPerson }) {
  if (has(`do.${code}`)) return t(`do.${code}`);
  return t(needsPerson ? "do.person" : "do.wait");
}

/** Why a session is in its state, what to do about it, and when wad tries again. */
export function reasonLines(status) {
  if (!status.reason) return [];
  return [
    h("p", { class: "why" }, h("code", {}, status.reason.code), " ", h("span", { lang: "en" }, status.reason.detail)),
    h("p", { class: status.reason.needsPerson ? "todo" : "soft" }, todo(status.reason), status.nextRetryAt ? ` ${t("do.retry", { time: clock(status.nextRetryAt) })}` : ""),
  ];
}

export const queueText = ({ depth, oldestSeconds }) =>
  depth === 0 ? t("queue.empty") : t("queue.depth", { depth, age: duration(oldestSeconds) });

// --- messages ------------------------------------------------------------------------------------

/** Whom a message is to or from, by name and number. */
export function who(message) {
  const person = message.from ?? message.to;
  if (person === null || person === undefined) return message.groupId ?? message.chat?.id ?? "";
  if (typeof person === "string") return person;
  return [person.name, person.phone ?? person.userId].filter(Boolean).join(" · ");
}

/** One line that stands for what a message holds. */
export function preview(message) {
  const type = message.contentType ?? message.type;
  const content = message[type] ?? {};
  switch (type) {
    case "text": return content.body ?? "";
    case "reaction": return `${t("content.reaction")} ${content.emoji ?? ""}`;
    case "template": return `${t("content.template")} ${content.name ?? ""}`;
    case "button": return content.text ?? "";
    case "poll": return `${t("content.poll")}: ${content.name ?? content.question ?? ""}`;
    case "interactive": return content.body?.text ?? content.buttonReply?.title ?? content.listReply?.title
      ?? content.button_reply?.title ?? content.list_reply?.title ?? t("content.interactive");
    default: return [word("content", type), content.caption ?? content.filename ?? content.name ?? ""].filter(Boolean).join(": ");
  }
}

/** Why a message failed, in the API's words. */
export function failure(error) {
  if (!error) return null;
  return h("p", { class: "why" }, h("code", {}, error.code), " ", h("span", { lang: "en" }, error.detail ?? ""),
    error.providerCode ? h("span", { class: "soft" }, ` (${error.providerCode})`) : null);
}

/** The whole thing, for who wants to see it. */
export const raw = (value) => h("details", { class: "raw" }, h("summary", {}, t("raw")), h("pre", { tabindex: "0" }, JSON.stringify(value, null, 2)));

/** Terms and what is said of each; what is null is left out. */
export function terms(pairs) {
  return h("dl", {}, pairs.filter(([, said]) => said !== null && said !== undefined && said !== "")
    .map(([term, said]) => h("div", {}, h("dt", {}, term), h("dd", {}, said))));
}

// --- problems ------------------------------------------------------------------------------------

/** One sentence for a Problem, for the ears. */
export const problemText = (problem) => (problem.status === 0 ? t("problem.silent") : `${problem.title}. ${problem.detail}`);

/**
 * Show a refusal in `box` (null: none): what it is, every bad field, and when to try again.
 * `besides`: pointers that are shown elsewhere.
 */
export function showProblem(box, problem, besides = []) {
  box.hidden = problem === null;
  if (problem === null) { box.replaceChildren(); return; }
  const silent = problem.status === 0;
  const fields = problem.errors.filter((each) => !besides.includes(each.pointer));
  const page = /^[a-z][a-z0-9_]{0,63}$/.test(problem.code) && !silent ? `/problems/${problem.code}` : null;
  box.replaceChildren(
    h("p", {}, silent ? t("problem.silent") : h("span", { lang: "en" }, h("b", {}, problem.title), problem.errors.length ? "" : `: ${problem.detail}`)),
    fields.length ? h("ul", { lang: "en" }, fields.map((each) => h("li", {}, h("code", {}, each.pointer), ` ${each.detail}`))) : "",
    problem.reason ? h("p", {}, todo(problem.reason)) : "",
    problem.retryAt ? h("p", {}, t("problem.again", { time: clock(problem.retryAt) })) : "",
    problem.status >= 500 && problem.requestId ? h("p", { class: "hint" }, t("problem.request", { id: problem.requestId })) : "",
    page ? h("p", { class: "hint" }, h("a", { href: page, target: "_blank", rel: "noopener" }, t("problem.what"))) : "",
  );
}

/** Where `showProblem` writes. */
export const problemBox = () => h("div", { class: "problem", role: "alert", hidden: true });
