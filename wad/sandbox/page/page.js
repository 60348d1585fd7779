// The chat page of the business numbers, whoever hosts them: a customer's phone. It reads the control API and listens to its event stream.
import { bodyOf, preview } from "./looks.js";
import { connect, drawNumbers, numbersOf } from "./numbers.js";
import { $, avatar, call, chooseEmoji, clock, day, drawEntry, h, icon, isAtEnd, listen, pop, show, toEnd, trying, writing } from "./parts.js";

// --- what the page knows --------------------------------------------------------------------------

const state = {
  numbers: [], people: new Map(), groups: new Map(), // chats are keyed by user id or group id
  number: localStorage.getItem("number"), chat: null,
  talks: new Map(), unread: new Map(), // of every number: its id and the chat → the last message and its window; how many are new
  messages: new Map(), // wamid → message, of the open chat, in order
  heard: new Map(), // event id → wamid, and wamid → what the webhook was answered
  quoting: null,
};

const number = () => state.numbers.find((one) => one.id === state.number);
const nameOf = (chat) => state.people.get(chat)?.name ?? state.groups.get(chat)?.subject ?? chat;
const idOf = (person) => (person.showsPhone && person.phone ? person.phone : person.username ?? person.userId);
const key = (chat, id = state.number) => `${id} ${chat}`;
const talk = (chat) => state.talks.get(key(chat)) ?? {};
const unreadOf = (id) => [...state.unread].reduce((sum, [one, count]) => sum + (one.startsWith(`${id} `) ? count : 0), 0);

async function load() {
  const world = await call("GET", "state");
  state.numbers = numbersOf(world);
  state.people = new Map(world.customers.map((one) => [one.userId, one]));
  state.groups = new Map(world.groups.map((one) => [one.groupId, one]));
  if (!number()) state.number = state.numbers[0]?.id ?? null;
  const { conversations } = await call("GET", "conversations");
  state.talks = new Map(conversations.map((one) => [key(one.chat, one.phoneNumberId), one]));
  drawChats();
  $("nobody").hidden = !state.number || Boolean(number().callback);
  if (state.chat) await openChat(state.chat, { keep: true });
  else if (matchMedia("(min-width: 761px)").matches) await openFirst();
  else drawEmpty();
}

const openFirst = () => { const first = chatOrder()[0]; return first ? openChat(first) : drawEmpty(); };

function chatOrder() {
  const groups = [...state.groups.values()].filter((one) => one.phoneNumberId === state.number).map((one) => one.groupId);
  const all = [...state.people.keys(), ...groups];
  const at = (chat) => talk(chat).last?.at ?? 0;
  return all.map((chat, place) => ({ chat, place })).sort((a, b) => at(b.chat) - at(a.chat) || a.place - b.place)
    .slice(0, 200).map((one) => one.chat);
}

// --- the list of customers ------------------------------------------------------------------------

function drawChats() {
  drawNumbers(state.numbers, state.number, (id) => (id === state.number ? 0 : unreadOf(id)));
  $("chats").replaceChildren(...chatOrder().map((chat) => drawChat(chat, state.number, talk(chat).last)));
  const others = [...state.talks.values()].filter((one) => one.phoneNumberId !== state.number && state.numbers.some((its) => its.id === one.phoneNumberId));
  others.sort((a, b) => b.last.at - a.last.at);
  $("others-part").hidden = !others.length;
  $("others").replaceChildren(...others.slice(0, 100).map((one) => drawChat(one.chat, one.phoneNumberId, one.last)));
}

/** A line of the list: of another number than the one that is chosen, it says which. */
function drawChat(chat, id, last) {
  const unread = state.unread.get(key(chat, id)) ?? 0;
  const elsewhere = id === state.number ? null : state.numbers.find((one) => one.id === id);
  return h("li", {}, h("button", { type: "button", "aria-current": !elsewhere && chat === state.chat ? "true" : null, onclick: () => trying(() => openChat(chat, { id })) },
    avatar(h("div", { "aria-hidden": "true" }), chat, nameOf(chat)),
    h("div", { class: "text" }, h("div", { class: "name" }, nameOf(chat)),
      elsewhere ? h("div", { class: "at" }, `${elsewhere.label} · ${elsewhere.name}`) : null,
      h("div", { class: "last" }, last ? preview(last) : "No messages yet")),
    h("div", { class: "side" }, last ? clock(last.at) : "", unread ? h("span", { class: "badge", "aria-label": `${unread} new` }, String(unread)) : null)));
}

// --- one conversation -----------------------------------------------------------------------------

async function openChat(chat, { keep = false, id = state.number } = {}) {
  const { messages, windowOpen } = await call("GET", `chat?phoneNumberId=${encodeURIComponent(id)}&chat=${encodeURIComponent(chat)}`);
  if (id !== state.number) choose(id);
  state.chat = chat;
  state.messages = new Map(messages.map((message) => [message.wamid, message]));
  setWindow(chat, windowOpen);
  state.unread.delete(key(chat));
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

/** Let *id* be the number that is talked with. */
function choose(id) {
  state.number = id;
  localStorage.setItem("number", id);
  $("nobody").hidden = Boolean(number().callback);
  stopTyping();
}

function setWindow(chat, open) {
  const known = state.talks.get(key(chat));
  if (known) known.windowOpen = open;
  if (chat === state.chat) state.windowOpen = open;
}

function drawEmpty() {
  $("log").replaceChildren(h("div", { class: "empty" }, h("p", {}, h("b", {}, "Choose a customer"), " and write to the business as they would.")));
}

function drawWindow() {
  const open = state.windowOpen;
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
  const body = bodyOf(message, ACTS);
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
  else if (heard >= 200 && heard < 300) line.append(icon("ticks", `The webhook answered ${heard}`));
  else if (heard !== undefined) line.append(h("span", { class: "failed" }, `webhook ${heard}`));
  else line.append(icon("tick", "Sent"));
  return line;
}

// --- what can be pressed in a message --------------------------------------------------------------

const press = (message, id) => trying(() => call("POST", "press", { wamid: message.wamid, id, ...(state.groups.has(state.chat) ? { from: { userId: state.groups.get(state.chat).members[0] } } : {}) }));

const ACTS = {
  press,
  choose: chooseRow,
  complete: completeFlow,
  locate: (message) => trying(() => write({ type: "location", replyTo: message.wamid })),
};

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
  const next = state.windowOpen ? "closed" : "open";
  await call("POST", "customers", { userId: state.chat, windows: { [state.number]: next } });
  setWindow(state.chat, next === "open");
  drawWindow();
}));
$("back").addEventListener("click", () => { document.body.dataset.pane = "chats"; state.chat = null; drawChats(); });
$("number").addEventListener("change", () => trying(async () => {
  choose($("number").value);
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

for (const id of ["open-connect", "banner-connect"]) $(id).addEventListener("click", () => { if (number()) connect(number(), load); });

/** Remember which webhook told of which message, to show whether it was heard. */
function follow(entry) {
  if (entry.kind === "event" && entry.event === "message") state.heard.set(entry.eventId, entry.wamid);
  if (entry.kind !== "delivery") return;
  for (const event of entry.events) {
    const wamid = state.heard.get(event);
    if (wamid === undefined || (state.heard.get(wamid) >= 200 && state.heard.get(wamid) < 300)) continue;
    state.heard.set(wamid, entry.status ?? entry.error);
    if (state.messages.has(wamid)) redraw(state.messages.get(wamid));
  }
}

// --- live -----------------------------------------------------------------------------------------

/** Whether it is of the conversation that is shown. */
const isOpen = (one) => one.chat === state.chat && one.phoneNumberId === state.number;

let typingTimer;
function stopTyping() { clearTimeout(typingTimer); $("typing").hidden = true; }

const ON = {
  resync: () => trying(load),
  numbers: () => trying(load),
  customers: () => trying(load),
  message({ message }) {
    if (!state.people.has(message.chat) && !state.groups.has(message.chat)) { trying(load); return; }
    const where = key(message.chat, message.phoneNumberId);
    const open = message.direction === "in" || Boolean(state.talks.get(where)?.windowOpen);
    state.talks.set(where, { phoneNumberId: message.phoneNumberId, chat: message.chat, last: message, windowOpen: open });
    if (isOpen(message)) {
      if (message.direction === "in") state.windowOpen = true;
      place(message);
      drawWindow();
      if (message.direction === "out") stopTyping();
    } else if (message.direction === "out") state.unread.set(where, (state.unread.get(where) ?? 0) + 1);
    drawChats();
  },
  status({ message }) {
    if (isOpen(message) && state.messages.has(message.wamid)) place(message);
  },
  typing(event) {
    if (!isOpen(event)) return;
    $("typing").hidden = false;
    clearTimeout(typingTimer);
    typingTimer = setTimeout(stopTyping, event.seconds * 1000);
  },
  wire({ entry }) { drawEntry(entry); follow(entry); },
};

listen(ON);
