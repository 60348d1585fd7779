// Which credentials each provider wants. The API tells which providers there are; of one that is not named here,
// credentials are written by name.

import { field, h, mark } from "./dom.js";
import { t } from "./words.js";

/** Provider: its name for people, and its credentials: [name, label, optional, a hint]. */
export const PROVIDERS = {
  cloud_api: {
    label: "WhatsApp Cloud API",
    credentials: [["phoneNumberId", "Phone number id"], ["accessToken", "Access token"], ["appSecret", "App secret", true], ["verifyToken", "Verify token", true]],
  },
  meta_business: {
    label: "Meta Business account",
    credentials: [["wabaId", "WhatsApp Business Account id"], ["accessToken", "Access token"], ["phoneNumberId", "Phone number id", true], ["appSecret", "App secret", true], ["verifyToken", "Verify token", true]],
  },
  twilio: {
    label: "Twilio",
    credentials: [["accountSid", "Account SID"], ["authToken", "Auth token"], ["apiKeySid", "API key SID", true], ["apiKeySecret", "API key secret", true], ["from", "From", true], ["messagingServiceSid", "Messaging service SID", true], ["webhookSharedKey", "Webhook shared key", true]],
  },
  dialog360: { label: "360dialog", credentials: [["apiKey", "API key"], ["webhookSecret", "Webhook secret"]] },
  baileys: { label: "WhatsApp Web (Baileys)", credentials: [] },
};

/** Not secret: shown as they are typed. */
const PLAIN = new Set(["phoneNumberId", "wabaId", "accountSid", "apiKeySid", "from", "messagingServiceSid"]);

/** Those named here first, in the order they stand in. */
export function inOrder(names) {
  const known = Object.keys(PROVIDERS).filter((each) => names.includes(each));
  return [...known, ...names.filter((each) => !known.includes(each))];
}

export const providerLabel = (name) => PROVIDERS[name]?.label ?? name;

/**
 * The fields of a provider's credentials: {element, values(), wrong(errors) → pointers shown}.
 * `all` optional: what is left empty stays as it is.
 */
export function credentialFields(provider, { all = false } = {}) {
  const known = PROVIDERS[provider];
  if (known === undefined) return writtenOut();
  const inputs = new Map(known.credentials.map(([name]) => [name, h("input", {
    name, type: PLAIN.has(name) ? "text" : "password", autocomplete: "off", spellcheck: "false", autocapitalize: "off",
  })]));
  const parts = known.credentials.map(([name, label, optional]) => field(label, inputs.get(name), { optional: optional || all }));
  return {
    element: h("div", { class: "fields" }, parts.length ? parts : h("p", { class: "hint" }, t("create.nothing"))),
    values: () => Object.fromEntries([...inputs].map(([name, input]) => [name, input.value.trim()]).filter(([, value]) => value !== "")),
    wrong(errors) {
      return [...inputs].flatMap(([name, input]) => {
        const error = errors.find((each) => each.pointer === `/credentials/${name}`);
        mark(input, error?.detail ?? null);
        return error ? [error.pointer] : [];
      });
    },
  };
}

function writtenOut() {
  const area = h("textarea", { rows: "4", spellcheck: "false", autocomplete: "off" });
  return {
    element: h("div", { class: "fields" }, field(t("create.credentials"), area, { hint: t("create.other") })),
    values: () => Object.fromEntries(area.value.split("\n").map((line) => line.trim()).filter(Boolean).map((line) => {
      const [, name, value] = /^([^=]*)=?(.*)$/.exec(line);
      return [name.trim(), value.trim()];
    })),
    wrong: () => [],
  };
}
