// Signing in: a token is right when the API takes it.

import { busy, field, h, mark } from "./dom.js";
import { get, hold } from "./api.js";
import { problemBox, showProblem } from "./show.js";
import { t } from "./words.js";

/** The view. `entered(token)` is called with a token that wad knows; `why` says what led here. */
export function signInView({ entered, why = null }) {
  const input = h("input", { type: "password", name: "token", autocomplete: "current-password", spellcheck: "false", autocapitalize: "off" });
  const problem = problemBox();
  const button = h("button", { type: "submit", class: "primary" }, t("signin.go"));
  const form = h("form", { class: "card signin" },
    h("h1", { tabindex: "-1" }, t("signin.title")),
    why ? h("p", { class: "notice", role: "status" }, why) : null,
    field(t("signin.token"), input, { hint: t("signin.hint") }),
    problem,
    h("div", { class: "actions" }, button),
    h("p", { class: "hint" }, t("signin.where")));

  const wrong = (text) => { mark(input, text); input.nextElementSibling.nextElementSibling.lang = ""; input.focus(); input.select(); };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(button, async () => {
      const token = input.value.trim();
      showProblem(problem, null);
      if (token === "") { wrong(t("signin.empty")); return; }
      // A header holds no more than this; fetch would not even ask.
      if (!/^[\x21-\x7e]+$/.test(token)) { wrong(t("signin.wrong")); return; }
      mark(input, null);
      hold(token);
      try {
        await get("/sessions", { limit: 1 });
      } catch (error) {
        hold(null);
        if (error.status === 401) wrong(t("signin.wrong")); else showProblem(problem, error);
        return;
      }
      entered(token);
    });
  });
  return { title: t("signin.title"), element: form, focus: () => input.focus(), stop() {} };
}
