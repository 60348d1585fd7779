// The business numbers of every kind: how they are named, chosen, and connected to a gateway.
import { $, call, h, show } from "./parts.js";

// What differs between the kinds: who has to be told what, and where webhooks are set.
const KINDS = {
  cloud_api: {
    label: "Cloud API", speaks: "Meta's Cloud API", hint: "The sandbox shakes hands with it first, as Meta does.",
    credentials: (one) => [["Base URL", location.origin], ["Phone number id", one.phoneNumberId], ["Access token", one.accessTokens[0]], ["App secret", one.appSecret], ["Verify token", one.verifyToken], ["Account id", one.wabaId]],
    callback: (one) => one.callbackUrl,
    lead: (one, url) => call("POST", "numbers", { phoneNumberId: one.phoneNumberId, callbackUrl: url }),
  },
  twilio: {
    label: "Twilio", speaks: "Twilio's API", hint: "Twilio signs this very URL: wad has to know it by the same name (http.public_url).",
    credentials: (one) => [["Base URL", location.origin], ["Account SID", one.accountSid], ["Auth token", one.authToken], ["From", one.from], ["Messaging service", one.messagingServiceSids[0]], ["API key SID", one.apiKeySid], ["API key secret", one.apiKeySecret]],
    callback: (one) => one.webhookUrl,
    lead: (one, url) => call("POST", "twilio/senders", { number: one.displayPhoneNumber, webhookUrl: url }),
  },
  dialog360: {
    label: "360dialog", speaks: "360dialog's API", hint: "Nobody signs it: each webhook carries the header above.",
    credentials: (one) => [["Base URL", one.dialog360.baseUrl], ["API key", one.dialog360.apiKey], ...Object.entries(one.dialog360.webhookHeaders ?? {}).map(([name, value]) => [`Webhook header ${name}`, value])],
    callback: (one) => one.callbackUrl,
    lead: (one, url) => call("POST", "numbers", { phoneNumberId: one.phoneNumberId, callbackUrl: url }),
  },
};

const kindOf = (one) => (one.accountSid ? "twilio" : one.dialog360 ? "dialog360" : "cloud_api");

/** Every number there is, by the state of the sandbox: `{id, kind, name, phone, callback, told}`. */
export function numbersOf(world) {
  return [...world.numbers.filter((one) => !one.deleted), ...world.senders].map((one) => {
    const kind = kindOf(one);
    return { id: one.phoneNumberId, kind, label: KINDS[kind].label, name: one.verifiedName, phone: one.displayPhoneNumber, callback: KINDS[kind].callback(one), told: one };
  });
}

/** Fill the list to choose from, by kind; a number with news says how many. */
export function drawNumbers(numbers, chosen, unread) {
  const option = (one) => {
    const news = unread(one.id);
    return h("option", { value: one.id, selected: one.id === chosen }, `${one.name} · ${one.phone}${news ? ` (${news} new)` : ""}`);
  };
  $("number").replaceChildren(...Object.entries(KINDS).flatMap(([kind, { label }]) => {
    const its = numbers.filter((one) => one.kind === kind);
    return its.length ? [h("optgroup", { label }, ...its.map(option))] : [];
  }));
}

/** Show what a gateway has to know of the number, and take the URL of its webhooks. */
export function connect(number, connected) {
  const kind = KINDS[number.kind];
  $("connect-speaks").textContent = kind.speaks;
  $("connect-hint").textContent = kind.hint;
  const rows = kind.credentials(number.told).filter(([, value]) => value);
  $("credentials").replaceChildren(...rows.flatMap(([term, value]) => [h("dt", {}, term), h("dd", {}, h("span", {}, value),
    h("button", { type: "button", "aria-label": `Copy ${term}`, onclick: (event) => { navigator.clipboard?.writeText(value); event.currentTarget.textContent = "copied"; } }, "copy"))]));
  const dialog = $("connect-dialog");
  const field = dialog.querySelector("[name=callback]");
  field.value = number.callback ?? "";
  field.placeholder = `http://127.0.0.1:8080/webhooks/${number.kind}${number.kind === "cloud_api" ? "" : "/<session>"}`;
  show(dialog, async (form) => {
    const url = form.get("callback").trim();
    if (!url) throw new Error("Say where webhooks go.");
    await kind.lead(number.told, url);
    await connected();
  });
}
