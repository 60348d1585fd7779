// A new session, and new credentials for one that is there.

import { busy, field, h, mark, say, select } from "./dom.js";
import { call, post, providersThere, sessionPath } from "./api.js";
import { credentialFields, inOrder, providerLabel } from "./providers.js";
import { problemBox, showProblem } from "./show.js";
import { t } from "./words.js";

/** Ask which session to create, create it, and go to it. */
export async function createDialog() {
  const providers = inOrder(await providersThere());
  const provider = select({ name: "provider" }, providers.map((name) => [name, providerLabel(name)]), providers[0]);
  const plain = (name, more = {}) => h("input", { name, autocomplete: "off", spellcheck: "false", autocapitalize: "off", ...more });
  const inputs = {
    sessionId: plain("sessionId", { maxlength: "64" }),
    shopId: plain("shopId", { maxlength: "64" }),
    phoneNumber: plain("phoneNumber", { type: "tel" }),
    flowUrl: plain("flowUrl", { type: "url" }),
  };
  const connect = h("input", { type: "checkbox", name: "connect", checked: true });
  const slot = h("div");
  const more = h("details", {}, h("summary", {}, t("create.more")), h("div", { class: "fields" },
    field(t("create.shop"), inputs.shopId, { optional: true }),
    field(t("create.phone"), inputs.phoneNumber, { optional: true, hint: t("trial.to.hint") }),
    field(t("create.flow"), inputs.flowUrl, { optional: true, hint: t("create.flow.hint") })));
  let credentials;
  const choose = () => { credentials = credentialFields(provider.value); slot.replaceChildren(credentials.element); };
  choose();
  provider.addEventListener("change", choose);

  open({
    title: t("create.title"),
    go: t("create.go"),
    parts: [
      field(t("create.provider"), provider),
      field(t("create.id"), inputs.sessionId, { optional: true, hint: t("create.id.hint") }),
      h("fieldset", {}, h("legend", {}, t("create.credentials")), slot),
      more,
      h("label", { class: "check" }, connect, t("create.connect")),
    ],
    async act() {
      const { sessionId, shopId, phoneNumber, flowUrl } = Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, input.value.trim()]));
      const made = await post("/sessions", {
        provider: provider.value,
        credentials: credentials.values(),
        connect: connect.checked,
        ...(sessionId && { sessionId }), ...(shopId && { shopId }),
        ...(phoneNumber && { phoneNumber: phoneNumber.replace(/[\s().-]/g, "") }),
        ...(flowUrl && { settings: { flowUrl } }),
      });
      say(t("create.done", { session: made.sessionId }));
      location.hash = `#${sessionPath(made.sessionId)}`;
    },
    wrong(errors) {
      const places = { "/sessionId": inputs.sessionId, "/shopId": inputs.shopId, "/phoneNumber": inputs.phoneNumber, "/settings/flowUrl": inputs.flowUrl };
      const marked = Object.entries(places).flatMap(([pointer, input]) => {
        const error = errors.find((each) => each.pointer === pointer);
        mark(input, error?.detail ?? null);
        return error ? [pointer] : [];
      });
      if (marked.some((pointer) => pointer !== "/sessionId")) more.open = true;
      return [...marked, ...credentials.wrong(errors)];
    },
  });
}

/** Give a session other credentials; those left empty stay. `done(session)` gets it as it is then. */
export function credentialsDialog(session, done) {
  const credentials = credentialFields(session.provider, { all: true });
  open({
    title: `${t("change.title")}: ${session.sessionId}`,
    go: t("change.go"),
    parts: [h("p", { class: "hint" }, t("change.hint")), credentials.element],
    async act() {
      const changed = await call("PATCH", sessionPath(session.sessionId), { body: { credentials: credentials.values() } });
      say(t("change.done"));
      done(changed);
    },
    wrong: (errors) => credentials.wrong(errors),
  });
}

/** A form in a dialog that closes once `act` has done it, and else says what is wrong, and where. */
function open({ title, go, parts, act, wrong }) {
  const problem = problemBox();
  const button = h("button", { type: "submit", class: "primary" }, go);
  const form = h("form", {}, h("h2", { id: "dialog-title" }, title), parts, problem,
    h("div", { class: "actions" }, h("button", { type: "button", onclick: () => dialog.close() }, t("cancel")), button));
  const dialog = h("dialog", { "aria-labelledby": "dialog-title" }, form);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(button, async () => {
      try {
        await act();
        dialog.close();
      } catch (error) {
        if (error.status === undefined) throw error;
        showProblem(problem, error, wrong(error.errors));
        form.querySelector("[aria-invalid]")?.focus();
      }
    });
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
