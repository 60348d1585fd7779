// The chat page of the Cloud API: a customer's phone. It reads the control API and listens to its event stream.
import { $, avatar, call, chooseEmoji, clock, day, drawEntry, h, icon, isAtEnd, listen, paragraph, pop, safeLink, show, toEnd, trying, writing } from "./parts.js";

// --- what the page knows --------------------------------------------------------------------------

const state = {
  numbers: [], people: new Map(), groups: new Map(), // chats are keyed by user id or group id
  number: localStorage.getItem("number"), chat: null,
  last: new Map(), windows: new Map(), unread: new Map(),
  messages: new Map(), // wamid → message, of the open chat, in order
  heard: new Map(), // event id → wamid, and wamid → what the webhook was answered
  quoting: null,
};

const number = () => state.numbers.find((one) => one.phoneNumberId === state.number);
const nameOf = (chat) => state.people.get(chat)?.name ?? state.groups.get(chat)?.subject ?? chat;
const idOf = (person) => (person.showsPhone && person.phone ? person.phone : person.username ?? person.userId);

async function load() {
  const world = await call("GET", "state");
  state.numbers = world.numbers.filter((one) => !one.deleted);
  state.people = new Map(world.customers.map((one) => [one.userId, one]));
  state.groups = new Map(world.groups.map((one) => [one.groupId, one]));
  if (!number()) state.number = state.numbers[0]?.phoneNumberId ?? null;
  $("number").replaceChildren(...state.numbers.map((one) =>
    h("option", { value: one.phoneNumberId, selected: one.phoneNumberId === state.number },
      `${one.verifiedName} · ${one.displayPhoneNumber}`)));
  if (state.number) await loadChats();
  $("nobody").hidden = !state.number || Boolean(number().callbackUrl);
  if (state.chat) await openChat(state.chat, { keep: true });
  else if (matchMedia("(min-width: 761px)").matches) await openFirst();
  else drawEmpty();
}

async function loadChats() {
  const { chats } = await call("GET", `chats?phoneNumberId=${encodeURIComponent(state.number)}`);
  state.last = new Map(chats.filter((one) => one.last).map((one) => [one.chat, one.last]));
  state.windows = new Map(chats.map((one) => [one.chat, one.windowOpen]));
  drawChats();
}

const openFirst = () => { const first = chatOrder()[0]; return first ? openChat(first) : drawEmpty(); };

function chatOrder() {
  const groups = [...state.groups.values()].filter((one) => one.phoneNumberId === state.number).map((one) => one.groupId);
  const all = [...state.people.keys(), ...groups];
  const at = (chat) => state.last.get(chat)?.at ?? 0;
  return all.map((chat, place) => ({ chat, place })).sort((a, b) => at(b.chat) - at(a.chat) || a.place - b.place)
    .slice(0, 200).map((one) => one.chat);
}

// --- the list of customers ------------------------------------------------------------------------

function drawChats() {
  $("chats").replaceChildren(...chatOrder().map((chat) => {
    const last = state.last.get(chat);
    const unread = state.unread.get(chat) ?? 0;
    return h("li", {}, h("button", { type: "button", "aria-current": chat === state.chat ? "true" : null, onclick: () => trying(() => openChat(chat)) },
      avatar(h("div", { "aria-hidden": "true" }), chat, nameOf(chat)),
      h("div", { class: "text" }, h("div", { class: "name" }, nameOf(chat)), h("div", { class: "last" }, last ? preview(last) : "No messages yet")),
      h("div", { class: "side" }, last ? clock(last.at) : "", unread ? h("span", { class: "badge", "aria-label": `${unread} new` }, String(unread)) : null)));
  }));
}

const NAMES = { image: "Photo", video: "Video", audio: "Voice note", document: "Document", sticker: "Sticker", location: "Location", contacts: "Contact", order: "Order", template: "Template", interactive: "Choice", reaction: "Reaction", unsupported: "Unsupported message", system: "System message", edit: "Edited a message", revoke: "Deleted a message", pin: "Pinned a message" };

/** One line that stands for a message. */
function preview(message) {
  const content = message.content ?? {};
  switch (message.type) {
    case "text": return content.body ?? "";
    case "button": return content.text ?? "";
    case "template": return content.body ?? NAMES.template;
    case "reaction": return content.emoji ? `Reacted ${content.emoji}` : "Took a reaction back";
    case "interactive": return content.body?.text ?? content.button_reply?.title ?? content.list_reply?.title ?? content.nfm_reply?.body ?? NAMES.interactive;
    case "location": return content.name ? `${NAMES.location}: ${content.name}` : NAMES.location;
    default: return content.caption || content.filename || NAMES[message.type] || message.type;
  }
}

// --- one conversation -----------------------------------------------------------------------------

async function openChat(chat, { keep = false } = {}) {
  const { messages, windowOpen } = await call("GET", `chat?phoneNumberId=${encodeURIComponent(state.number)}&chat=${encodeURIComponent(chat)}`);
  state.chat = chat;
  state.messages = new Map(messages.map((message) => [message.wamid, message]));
  state.windows.set(chat, windowOpen);
  state.unread.delete(chat);
  if (!keep) { quote(null); document.body.dataset.pane = "chat"; }
  const person = state.people.get(chat);
  avatar($("chat-avatar"), chat, nameOf(chat));
  $("chat-name").textContent = nameOf(chat);
  $("chat-id").textContent = person
    ? [idOf(person), person.showsPhone ? null : "phone hidden", person.onWhatsapp ? null : "not on WhatsApp"].filter(Boolean).join(" · ")
    : `${state.groups.get(chat)?.members.length ?? 0} participants`;
  drawWindow();
  drawLog();
  drawChats();
  if (!keep && matchMedia("(min-width: 761px)").matches) $("composer-text").focus();
}

function drawEmpty() {
  $("log").replaceChildren(h("div", { class: "empty" }, h("p", {}, h("b", {}, "Choose a customer"), " and write to the business as they would.")));
}

function drawWindow() {
  const open = state.windows.get(state.chat);
  $("window").hidden = !state.people.has(state.chat);
  $("window").className = open ? "chip open" : "chip";
  $("window").textContent = open ? "24 h window open" : "24 h window closed";
  $("window").title = open
    ? "The business may write freely. Press to let 24 hours pass for this customer."
    : "The business may only send templates until this customer writes. Press to open the window.";
}

function drawLog() {
  const log = $("log");
  const rows = [];
  let lastDay = null;
  let side = null;
  for (const message of state.messages.values()) {
    if (message.type === "reaction" && state.messages.has(message.content?.message_id)) continue;
    const today = day(message.at);
    if (today !== lastDay) { rows.push(h("div", { class: "day" }, today)); lastDay = today; side = null; }
    rows.push(drawMessage(message, message.direction !== side));
    side = message.direction;
  }
  if (!rows.length) {
    rows.push(h("div", { class: "empty" }, h("p", {}, "Nothing said yet. Write as ", h("b", {}, nameOf(state.chat)), ": that opens the 24-hour window, and the business hears it by webhook.")));
  }
  log.replaceChildren(...rows);
  toEnd();
}

/** Draw one message anew where it stands, or at the end. */
function place(message) {
  const known = state.messages.has(message.wamid);
  state.messages.set(message.wamid, message);
  const target = message.type === "reaction" ? state.messages.get(message.content?.message_id) : null;
  if (target) return redraw(target);
  if (known) { redraw(message); if (isAtEnd()) toEnd(); return undefined; }
  const log = $("log");
  const rows = [...state.messages.values()];
  const before = rows[rows.length - 2];
  if (!before || day(before.at) !== day(message.at) || log.querySelector(".empty")) return drawLog();
  log.append(drawMessage(message, before.direction !== message.direction));
  if (isAtEnd() || message.direction === "in") toEnd();
  return undefined;
}

function redraw(message) {
  const row = document.getElementById(message.wamid);
  row?.replaceWith(drawMessage(message, row.classList.contains("turn")));
}

function drawMessage(message, turn) {
  const reactions = [...state.messages.values()].filter((one) => one.type === "reaction" && one.content?.message_id === message.wamid);
  const shown = new Map(reactions.map((one) => [one.direction + (one.sender ?? ""), one.content.emoji])); // the last of each person
  const emoji = [...shown.values()].filter(Boolean);
  const body = message.type in DRAW ? DRAW[message.type](message.content ?? {}, message) : [h("p", { class: "kind" }, NAMES[message.type] ?? message.type)];
  const bar = body.find((part) => part?.classList?.contains("actions")) ?? null;
  const wide = ["interactive", "template", "location", "contacts", "document", "order"].includes(message.type);
  return h("div", { id: message.wamid, class: `msg ${message.direction}${turn ? " turn" : ""}${emoji.length ? " reacted" : ""}` },
    h("div", { class: `bubble${wide ? " wide" : ""}` },
      message.direction === "in" && state.groups.has(state.chat) ? h("p", { class: "sender" }, nameOf(message.sender)) : null,
      quoted(message), ...body.filter((part) => part !== bar), meta(message), bar,
      message.failed ? h("p", { class: "why" }, `Not delivered. ${message.failed.title} (${message.failed.code}): ${message.failed.error_data.details}`) : null),
    h("div", { class: "tools" },
      h("button", { type: "button", class: "round", "aria-label": `Reply to: ${preview(message)}`, onclick: () => quote(message) }, icon("reply")),
      message.direction === "out" ? h("button", { type: "button", class: "round", "aria-label": `React to: ${preview(message)}`, onclick: (event) => react(event.currentTarget, message) }, icon("smile")) : null),
    emoji.length ? h("div", { class: "reactions", "aria-label": `Reactions: ${emoji.join(" ")}` }, emoji.join("")) : null);
}

function quoted(message) {
  const id = message.context?.id;
  if (!id || message.type === "reaction") return null;
  const original = state.messages.get(id);
  return h("button", { type: "button", class: "quote", onclick: () => {
    const row = document.getElementById(id);
    row?.scrollIntoView({ block: "center", behavior: "smooth" });
    row?.classList.add("flash");
    setTimeout(() => row?.classList.remove("flash"), 1300);
  } }, original ? preview(original) : "An earlier message");
}

/** The time, and how far the message has come: read by the customer, or heard by the webhook. */
function meta(message) {
  const line = h("div", { class: "meta" }, h("span", {}, clock(message.at)));
  if (message.direction === "out") {
    const words = { accepted: "accepted", sent: "sent", delivered: "delivered", read: "read", played: "played", failed: "failed" };
    line.append(h("span", { class: message.status }, words[message.status] ?? message.status));
    if (message.status === "sent") line.append(icon("tick"));
    if (["delivered", "read", "played"].includes(message.status)) {
      const ticks = icon("ticks");
      if (message.status !== "delivered") ticks.classList.add("read");
      line.append(ticks);
    }
    return line;
  }
  const heard = state.heard.get(message.wamid);
  if (message.read) { const ticks = icon("ticks", "Read by the business"); ticks.classList.add("read"); line.append(ticks); }
  else if (heard === 200) line.append(icon("ticks", "The webhook answered 200"));
  else if (heard !== undefined) line.append(h("span", { class: "failed" }, `webhook ${heard}, will retry`));
  else line.append(icon("tick", "Sent"));
  return line;
}

// --- how each type looks --------------------------------------------------------------------------

/** A file: shown where the sandbox has it; a link elsewhere is told, not fetched. */
function file(kind, media) {
  if (media.id === undefined) {
    const url = safeLink(media.link);
    return h(url ? "a" : "div", { class: "card", href: url, target: "_blank", rel: "noopener noreferrer" }, icon(kind === "image" || kind === "sticker" ? "image" : "file"),
      h("span", {}, h("b", {}, media.filename ?? NAMES[kind]), h("small", {}, url ? new URL(url).host : String(media.link))));
  }
  const source = `/_sandbox/media/${encodeURIComponent(media.id)}`;
  switch (kind) {
    case "image": return h("img", { class: "picture", src: source, alt: media.caption || "A picture" });
    case "sticker": return h("img", { class: "sticker", src: source, alt: "A sticker" });
    case "audio": return h("audio", { controls: true, preload: "none", src: source });
    case "video": return h("video", { controls: true, preload: "none", src: source });
    default: return h("a", { class: "card", href: source, download: media.filename ?? "file" }, icon("file"), h("span", {}, h("b", {}, media.filename ?? "Document"), h("small", {}, media.mime_type ?? "")));
  }
}

const media = (kind) => (content) => [file(kind, content), paragraph(content.caption)];

function header(head) {
  if (!head) return null;
  return head.type === "text" ? paragraph(head.text, "head") : head.type === "location" ? DRAW.location(head.location)[0] : file(head.type, head[head.type] ?? {});
}

const press = (message, id) => trying(() => call("POST", "press", { wamid: message.wamid, id, ...(state.groups.has(state.chat) ? { from: { userId: state.groups.get(state.chat).members[0] } } : {}) }));

const DRAW = {
  text: (content) => [paragraph(content.body)],
  button: (content) => [paragraph(content.text)],
  image: media("image"), video: media("video"), audio: media("audio"), document: media("document"), sticker: media("sticker"),
  location: (content) => [h("div", { class: "card" }, icon("pin"), h("span", {}, h("b", {}, content.name ?? "A place"), h("small", {}, content.address ?? `${content.latitude}, ${content.longitude}`)))],
  contacts: (content) => content.map((one) => h("div", { class: "card" }, icon("person"), h("span", {}, h("b", {}, one.name?.formatted_name ?? "Somebody"), h("small", {}, one.phones?.[0]?.phone ?? "")))),
  order: (content) => [h("div", { class: "card" }, icon("list"), h("span", {}, h("b", {}, "Order"), h("small", {}, (content.product_items ?? []).map((one) => `${one.quantity} × ${one.product_retailer_id}`).join(", ")))), paragraph(content.text)],
  reaction: (content) => [h("p", {}, content.emoji || "took a reaction back")],
  system: (content) => [h("p", { class: "kind" }, content.body ?? NAMES.system)],
  template(content, message) {
    const buttons = content.buttons.map((button) => button.type === "QUICK_REPLY"
      ? h("button", { type: "button", onclick: () => press(message, button.payload) }, icon("reply"), button.text)
      : h("span", {}, icon("link"), button.text));
    return [header(content.header), paragraph(content.body), paragraph(content.footer, "foot"), buttons.length ? h("div", { class: "actions" }, ...buttons) : null];
  },
  interactive(content, message) {
    if (content.button_reply) return [paragraph(content.button_reply.title)];
    if (content.list_reply) return [paragraph(content.list_reply.title), paragraph(content.list_reply.description, "foot")];
    if (content.nfm_reply) return [paragraph(content.nfm_reply.body), h("p", { class: "foot" }, h("code", {}, content.nfm_reply.response_json))];
    return [header(content.header), paragraph(content.body?.text), paragraph(content.footer?.text, "foot"), actions(content, message)];
  },
};

function actions(content, message) {
  const action = content.action ?? {};
  const parameters = action.parameters ?? {};
  const bar = (...children) => h("div", { class: "actions" }, ...children);
  switch (content.type) {
    case "button": return bar(...action.buttons.map(({ reply }) => h("button", { type: "button", onclick: () => press(message, reply.id) }, icon("reply"), reply.title)));
    case "list": return bar(h("button", { type: "button", "aria-haspopup": "dialog", onclick: () => chooseRow(action, message) }, icon("list"), action.button));
    case "cta_url": return bar(h("a", { href: safeLink(parameters.url), target: "_blank", rel: "noopener noreferrer" }, icon("link"), parameters.display_text));
    case "location_request_message": return bar(h("button", { type: "button", onclick: () => trying(() => write({ type: "location", replyTo: message.wamid })) }, icon("pin"), "Send location"));
    case "flow": return bar(h("button", { type: "button", "aria-haspopup": "dialog", onclick: () => completeFlow(message) }, icon("file"), parameters.flow_cta));
    case "carousel": return h("div", { class: "cards" }, ...action.cards.map((card) => h("div", {}, header(card.header), paragraph(card.body?.text))));
    case "product_list": return bar(h("span", {}, icon("list"), action.sections.flatMap((one) => one.product_items.map((item) => item.product_retailer_id)).join(", ")));
    case "product": return bar(h("span", {}, icon("list"), action.product_retailer_id));
    default: return bar(h("span", {}, content.type.replaceAll("_", " ")));
  }
}

function chooseRow(action, message) {
  const dialog = $("list-dialog");
  $("list-title").textContent = action.button;
  $("list-rows").replaceChildren(...action.sections.flatMap((section) => [
    section.title ? h("h3", {}, section.title) : null,
    ...section.rows.map((row) => h("label", { class: "row-choice" }, h("input", { type: "radio", name: "row", value: row.id, required: true }), h("span", {}, row.title, row.description ? h("small", {}, row.description) : null))),
  ]).filter(Boolean));
  dialog.onclose = () => { if (dialog.returnValue === "ok") press(message, dialog.querySelector("input:checked").value); };
  show(dialog);
}

function completeFlow(message) {
  const dialog = $("flow-dialog");
  dialog.onclose = () => {
    if (dialog.returnValue !== "ok") return;
    const answer = dialog.querySelector("textarea").value;
    trying(() => write({ type: "interactive", replyTo: message.wamid, interactive: { type: "nfm_reply", nfm_reply: { name: "flow", body: "Sent", response_json: answer } } }));
  };
  show(dialog, () => { JSON.parse(dialog.querySelector("textarea").value); });
}

// --- the customer acts ----------------------------------------------------------------------------

function write(message) {
  const group = state.groups.get(state.chat);
  const from = { userId: group ? group.members[0] : state.chat };
  return call("POST", "inbound", { phoneNumberId: state.number, from, ...(group ? { groupId: state.chat } : {}), ...message });
}

function quote(message) {
  state.quoting = message?.wamid ?? null;
  $("quoting").hidden = !message;
  if (message) { $("quoting").querySelector("p").textContent = preview(message); $("composer-text").focus(); }
}

const react = (button, message) => chooseEmoji(button, (emoji) => trying(() => write({ type: "reaction", reaction: { message_id: message.wamid, emoji } })));

$("attach-menu").addEventListener("toggle", (event) => { if (event.newState === "open") pop($("attach-menu"), $("attach")); });
$("attach-menu").addEventListener("click", (event) => {
  const type = event.target.closest("button")?.dataset.send;
  if (!type || !state.chat) return;
  $("attach-menu").hidePopover();
  if (type === "file") $("file").click();
  else trying(() => write({ type, ...replying() }));
});

$("file").addEventListener("change", () => trying(async () => {
  const [chosen] = $("file").files;
  $("file").value = "";
  if (!chosen) return;
  const response = await fetch(`/_sandbox/media?phoneNumberId=${encodeURIComponent(state.number)}&filename=${encodeURIComponent(chosen.name)}`, { method: "POST", headers: { "Content-Type": chosen.type || "application/octet-stream" }, body: chosen });
  const stored = await response.json();
  if (!response.ok) throw new Error(stored.error);
  await write({ type: stored.kind, [stored.kind]: { id: stored.mediaId, ...(stored.kind === "document" ? { filename: chosen.name } : {}) } });
}));

function replying() {
  const replyTo = state.quoting;
  quote(null);
  return replyTo ? { replyTo } : {};
}

writing((text) => (state.chat ? trying(() => write({ text, ...replying() })) : false));
$("quoting").querySelector("button").addEventListener("click", () => quote(null));

$("window").addEventListener("click", () => trying(async () => {
  const next = state.windows.get(state.chat) ? "closed" : "open";
  await call("POST", "customers", { userId: state.chat, windows: { [state.number]: next } });
  state.windows.set(state.chat, next === "open");
  drawWindow();
}));
$("back").addEventListener("click", () => { document.body.dataset.pane = "chats"; state.chat = null; drawChats(); });
$("number").addEventListener("change", () => trying(async () => {
  state.number = $("number").value;
  localStorage.setItem("number", state.number);
  state.unread.clear();
  await load();
}));

// --- dialogs --------------------------------------------------------------------------------------

$("open-customer").addEventListener("click", () => {
  $("customer-dialog").querySelector("form").reset();
  show($("customer-dialog"), async (form) => {
    const phone = form.get("phone").replaceAll(" ", "");
    const hidden = form.get("hidden") === "on";
    if (!phone && !hidden) throw new Error("Give a phone, or hide it.");
    const person = { name: form.get("name"), showsPhone: !hidden };
    if (phone) person.phone = phone; else person.userId = `MX.${String(Date.now())}${Math.floor(Math.random() * 1e6)}`;
    const made = await call("POST", "customers", person);
    await load();
    await openChat(made.userId);
  });
});

function connect() {
  const one = number();
  if (!one) return;
  const rows = [["Base URL", location.origin], ["Phone number id", one.phoneNumberId], ["Access token", one.accessTokens[0]], ["App secret", one.appSecret], ["Verify token", one.verifyToken], ["Account id", one.wabaId]];
  $("credentials").replaceChildren(...rows.flatMap(([term, value]) => [h("dt", {}, term), h("dd", {}, value),
    h("button", { type: "button", "aria-label": `Copy ${term}`, onclick: (event) => { navigator.clipboard?.writeText(value); event.currentTarget.textContent = "copied"; } }, "copy")]));
  const dialog = $("connect-dialog");
  dialog.querySelector("[name=callback]").value = one.callbackUrl ?? "";
  show(dialog, async (form) => {
    const url = form.get("callback").trim();
    if (!url) throw new Error("Say where webhooks go.");
    await call("POST", "numbers", { phoneNumberId: one.phoneNumberId, callbackUrl: url });
    await load();
  });
}
$("open-connect").addEventListener("click", connect);
$("banner-connect").addEventListener("click", connect);

/** Remember which webhook told of which message, to show whether it was heard. */
function follow(entry) {
  if (entry.kind === "event" && entry.event === "message") state.heard.set(entry.eventId, entry.wamid);
  if (entry.kind !== "delivery") return;
  for (const event of entry.events) {
    const wamid = state.heard.get(event);
    if (wamid === undefined || state.heard.get(wamid) === 200) continue;
    state.heard.set(wamid, entry.status ?? entry.error);
    if (state.messages.has(wamid)) redraw(state.messages.get(wamid));
  }
}

// --- live -----------------------------------------------------------------------------------------

let typingTimer;
function stopTyping() { clearTimeout(typingTimer); $("typing").hidden = true; }

const ON = {
  resync: () => trying(load),
  numbers: () => trying(load),
  customers: () => trying(load),
  message({ message }) {
    if (message.phoneNumberId !== state.number) return;
    if (!state.people.has(message.chat) && !state.groups.has(message.chat)) { trying(load); return; }
    state.last.set(message.chat, message);
    if (message.direction === "in") state.windows.set(message.chat, true);
    if (message.chat === state.chat) {
      place(message);
      drawWindow();
      if (message.direction === "out") stopTyping();
    } else if (message.direction === "out") state.unread.set(message.chat, (state.unread.get(message.chat) ?? 0) + 1);
    drawChats();
  },
  status({ message }) {
    if (message.chat === state.chat && state.messages.has(message.wamid)) place(message);
  },
  typing(event) {
    if (event.chat !== state.chat || event.phoneNumberId !== state.number) return;
    $("typing").hidden = false;
    clearTimeout(typingTimer);
    typingTimer = setTimeout(stopTyping, event.seconds * 1000);
  },
  wire({ entry }) { drawEntry(entry); follow(entry); },
};

listen(ON);
