// Pairing with a phone: the code to scan, always the one that counts now, or a code to type in.

import { busy, field, h, mark, say } from "./dom.js";
import { get, post, serverNow, sessionPath } from "./api.js";
import * as live from "./live.js";
import { problemBox, seconds, showProblem } from "./show.js";
import { t } from "./words.js";

/** {element, update(status), stop()}: shown while the session waits for a phone. */
export function pairingCard(session) {
  const gone = new AbortController();
  const image = h("img", { alt: t("pair.qr"), width: "264", height: "264" });
  const frame = h("div", { class: "qr" }, image);
  const until = h("p", { class: "hint" });
  const problem = problemBox();
  const scan = h("div", { class: "scan", hidden: true }, frame, h("div", {}, h("p", {}, t("pair.how")), until));
  const connect = h("p", {}, t("pair.connect"));

  const phone = h("input", { type: "tel", name: "phone", autocomplete: "off" });
  const button = h("button", { type: "submit" }, t("pair.code.go"));
  const answer = h("output", { class: "code", for: "pair-phone" });
  phone.id = "pair-phone";
  const typed = h("form", { class: "typed", hidden: true }, h("h3", {}, t("pair.code.title")),
    h("div", { class: "filters" }, field(t("pair.code.phone"), phone, { hint: t("trial.to.hint") }), h("div", { class: "buttons" }, button)), answer);

  let code = null; // what the shown image says
  let expires = null;
  let loading = false;
  let pairing = false;

  /** Fetch the code and its picture. They are two answers: if the code changed in between, once more. */
  async function load() {
    if (loading || !pairing) return;
    loading = true;
    try {
      for (let tries = 0; tries < 3; tries += 1) {
        const asked = { signal: gone.signal };
        const before = await get(sessionPath(session, "/qr"), { format: "json" }, asked);
        const picture = await get(sessionPath(session, "/qr"), { format: "svg" }, { ...asked, as: "blob" });
        const after = await get(sessionPath(session, "/qr"), { format: "json" }, asked);
        if (before.qr !== after.qr) continue;
        if (code !== null && code !== after.qr) say(t("pair.fresh"));
        URL.revokeObjectURL(image.src);
        image.src = URL.createObjectURL(picture);
        code = after.qr;
        expires = after.expiresAt ? Date.parse(after.expiresAt) : null;
        break;
      }
      showProblem(problem, null);
    } catch (error) {
      if (!gone.signal.aborted && error.code !== "not_pairing") showProblem(problem, error); // it was scanned this moment
    } finally {
      loading = false;
      count();
    }
  }

  /** Never show a code as good that is not: what has expired is covered until the next one is there. */
  function count() {
    const left = expires === null ? null : Math.ceil((expires - serverNow()) / 1000);
    const over = code !== null && left !== null && left <= 0;
    frame.classList.toggle("over", over || code === null);
    image.hidden = code === null || over;
    until.textContent = code === null ? t("pair.waiting") : over ? t("pair.expired") : left === null ? "" : t("pair.until", { time: seconds(left) });
    if (over) load();
  }

  const ticker = setInterval(() => { if (pairing) count(); }, 1000);
  live.onEntry((entry) => { if (entry.type === "session.qr" && entry.data.sessionId === session) load(); }, gone.signal);

  typed.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(button, async () => {
      answer.replaceChildren();
      mark(phone, null);
      try {
        const got = await post(sessionPath(session, "/pairing-code"), { phoneNumber: phone.value.replace(/[\s().-]/g, "") });
        answer.replaceChildren(h("span", {}, t("pair.code.how")), h("b", {}, got.code.replace(/^(.{4})(.{4})$/, "$1-$2"))); // as the phone asks for it
        say(`${t("pair.code.how")} ${[...got.code].join(" ")}`);
        showProblem(problem, null);
      } catch (error) {
        const field = error.errors?.find((each) => each.pointer === "/phoneNumber");
        if (field) { mark(phone, field.detail); phone.focus(); } else showProblem(problem, error);
      }
    });
  });

  return {
    element: h("section", { class: "card pairing", "aria-labelledby": "pair-title" }, h("h2", { id: "pair-title" }, t("pair.title")), connect, scan, problem, typed),
    update(status) {
      pairing = status.state === "pairing";
      scan.hidden = typed.hidden = !pairing;
      connect.hidden = pairing;
      if (!pairing) { code = null; expires = null; answer.replaceChildren(); showProblem(problem, null); count(); }
      else if (status.qrCode !== code) load();
    },
    stop() { gone.abort(); clearInterval(ticker); URL.revokeObjectURL(image.src); },
  };
}
