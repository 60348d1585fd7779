// The page of WhatsApp Web: phones one holds, and the people who write to them. What a linked device says stands on
// the left; on the right is what one says as somebody else.
import { $, avatar, call, chooseEmoji, clock, day, drawEntry, h, icon, isAtEnd, listen, paragraph, pop, show, toEnd, toast, trying, writing } from "./parts.js";

// --- what the page knows --------------------------------------------------------------------------

const state = {
  phones: [], people: new Map(), groups: new Map(), // chats are keyed by a number in digits or a group's id
  phone: localStorage.getItem("phone"), chat: null,
  last: {}, unread: new Map(),
  records: new Map(), // message id → the record of it, of the open chat, in order
  answering: null, // {how: "replyTo" or "edit", id}
};

const phone = () => state.phones.find((one) => one.phone === state.phone);
const clients = () => phone()?.clients ?? [];
const nameOf = (chat) => state.people.get(chat) ?? state.groups.get(chat)?.subject ?? `+${chat}`;
const isGroup = (chat) => state.groups.has(chat);
const digits = (text) => String(text).replace(/[^0-9]/g, "");
const DEAF = "Nothing is linked to this phone: nobody would hear it.";
const ask = (path, body) => call("POST", `web/${path}`, body);

async function load() {
  const world = await call("GET", "web").catch((error) => ({ running: false, missing: error.message, never: true }));
  $("gone").hidden = world.running;
  $("gone-why").textContent = world.missing ? `WhatsApp Web is not there: ${world.missing}` : "";
  $("start-again").hidden = Boolean(world.never);
  if (!world.running) { state.phones = []; drawDevices(); return; }
  state.phones = world.phones;
  state.groups = new Map(world.groups.map((one) => [one.id, one]));
  state.people = new Map([...world.contacts, ...world.phones].map((one) => [one.phone, one.name]));
  if (!phone()) state.phone = state.phones[0]?.phone ?? null;
  $("phone").replaceChildren(...state.phones.map((one) => h("option", { value: one.phone, selected: one.phone === state.phone }, `${one.name} · +${one.phone}`)));
  state.last = (await call("GET", `web/chats?phone=${state.phone}`)).chats;
  drawDevices();
  drawChats();
  if (state.chat && chats().includes(state.chat)) await openChat(state.chat, { keep: true });
  else if (matchMedia("(min-width: 761px)").matches && chats().length) await openChat(chats()[0], { keep: true });
  else drawEmpty();
}

let loading;
/** Load again, once, for all that happens in a moment. */
function reload() { clearTimeout(loading); loading = setTimeout(() => trying(load), 60); }

function chats() {
  const groups = [...state.groups.values()].filter((one) => one.members.includes(state.phone)).map((one) => one.id);
  const all = [...state.people.keys()].filter((one) => one !== state.phone).concat(groups);
  const at = (chat) => state.last[chat]?.since ?? 0;
  return all.map((chat, place) => ({ chat, place })).sort((a, b) => at(b.chat) - at(a.chat) || a.place - b.place).slice(0, 200).map((one) => one.chat);
}

// --- people ---------------------------------------------------------------------------------------

function drawChats() {
  $("chats").replaceChildren(...chats().map((chat) => {
    const last = state.last[chat];
    const unread = state.unread.get(chat) ?? 0;
    return h("li", {}, h("button", { type: "button", "aria-current": chat === state.chat ? "true" : null, onclick: () => trying(() => openChat(chat)) },
      avatar(h("div", { "aria-hidden": "true" }), chat, nameOf(chat)),
      h("div", { class: "text" }, h("div", { class: "name" }, nameOf(chat)), h("div", { class: "last" }, last ? preview(contentOf(last)) : isGroup(chat) ? "A group" : `+${chat}`)),
      h("div", { class: "side" }, last ? clock(last.since) : "", unread ? h("span", { class: "badge", "aria-label": `${unread} new` }, String(unread)) : null)));
  }));
}

/** What a message says: of one from a linked device, what the first phone could read. */
function contentOf(record) {
  if (record.direction === "in") return record.content ?? { type: "text", text: "…" };
  const told = Object.entries(record.recipients).filter(([who]) => who !== record.account).map(([, one]) => one.content).find(Boolean);
  return told ?? { type: record.dropped ? "lost" : "sealed" };
}

const NAMES = { image: "Photo", video: "Video", audio: "Voice note", document: "Document", sticker: "Sticker", location: "Location", contact: "Contact", contacts: "Contacts", poll: "Poll", vote: "Voted", edit: "Edited a message", delete: "Deleted a message", sealed: "Nobody could read it yet", lost: "Lost on the way", other: "Something else" };

function preview(content) {
  switch (content.type) {
    case "text": return content.text ?? "";
    case "edit": return content.text ?? NAMES.edit;
    case "reaction": return content.emoji ? `Reacted ${content.emoji}` : "Took a reaction back";
    case "poll": return `Poll: ${content.name}`;
    case "location": case "contact": return content.name ? `${NAMES[content.type]}: ${content.name}` : NAMES[content.type];
    default: return content.caption || content.fileName || NAMES[content.type] || content.type;
  }
}

// --- one conversation -----------------------------------------------------------------------------

async function openChat(chat, { keep = false } = {}) {
  const { messages } = await call("GET", `web/chat?phone=${state.phone}&chat=${encodeURIComponent(chat)}`);
  const another = state.chat !== chat;
  state.chat = chat;
  state.records = new Map(messages.map((record) => [record.id, record]));
  state.unread.delete(chat);
  if (another) answer(null);
  if (!keep) document.body.dataset.pane = "chat";
  avatar($("chat-avatar"), chat, nameOf(chat));
  $("chat-name").textContent = nameOf(chat);
  const group = state.groups.get(chat);
  $("chat-id").textContent = group ? group.members.map(nameOf).join(", ") : `+${chat}`;
  $("members").hidden = !group;
  $("speaker").hidden = !group;
  if (group) {
    const as = $("as").value;
    $("as").replaceChildren(...group.members.filter((one) => one !== state.phone).map((one) => h("option", { value: one, selected: one === as }, nameOf(one))));
  }
  drawLog();
  drawChats();
  markRead([...state.records.values()]);
  if (!keep && matchMedia("(min-width: 761px)").matches) $("composer-text").focus();
}

function drawEmpty() {
  $("log").replaceChildren(h("div", { class: "empty" }, h("p", {}, h("b", {}, "Choose somebody"), " and write to this phone as they would.")));
}

/** Who one is in the open chat. */
const me = () => (isGroup(state.chat) ? $("as").value : state.chat);
const place = () => (isGroup(state.chat) ? { groupId: state.chat } : { to: state.phone });
function say(content) {
  if (!clients().length) throw new Error(DEAF);
  return ask("say", { from: me(), ...place(), ...content });
}

/** What is on the screen is read, by whoever one is there. */
function markRead(records) {
  if (document.hidden) return;
  const ids = records.filter((one) => one.direction === "out" && one.chat === state.chat && one.recipients[me()]?.shown && !one.receipts[me()]?.read
    && !["edit", "delete", "reaction"].includes(contentOf(one).type)).map((one) => one.id);
  if (ids.length) trying(() => ask("read", { by: me(), to: state.phone, ids, ...(isGroup(state.chat) ? { groupId: state.chat } : {}) }));
}
document.addEventListener("visibilitychange", () => { if (state.chat) markRead([...state.records.values()]); });

/** The conversation as it stands: edits, deletions and reactions are part of what they are about. */
function bubbles() {
  const shown = new Map();
  for (const record of state.records.values()) {
    const content = contentOf(record);
    const target = shown.get(content.id);
    const by = record.direction === "out" ? record.account : record.from;
    if (target && content.type === "edit") target.edited = content.text;
    else if (target && content.type === "delete") target.deleted = true;
    else if (target && content.type === "reaction") target.reactions.set(by, content.emoji);
    else if (target && content.type === "vote") target.votes.add(by);
    else shown.set(record.id, { record, content, by, reactions: new Map(), votes: new Set(), edited: null, deleted: false });
  }
  return [...shown.values()];
}

function drawLog() {
  const rows = [];
  let lastDay = null;
  let side = null;
  for (const bubble of bubbles()) {
    const today = day(bubble.record.since);
    if (today !== lastDay) { rows.push(h("div", { class: "day" }, today)); lastDay = today; side = null; }
    const who = `${bubble.record.direction} ${bubble.by}`;
    rows.push(drawMessage(bubble, who !== side));
    side = who;
  }
  if (!rows.length) rows.push(h("div", { class: "empty" }, h("p", {}, "Nothing said yet. Write as ", h("b", {}, isGroup(state.chat) ? "one of the members" : nameOf(state.chat)), ": every linked device hears it.")));
  const follow = isAtEnd();
  const scrolled = $("log").scrollTop;
  $("log").replaceChildren(...rows);
  if (follow) toEnd(); else $("log").scrollTop = scrolled;
}

function drawMessage(bubble, turn) {
  const { record, content, by } = bubble;
  const mine = record.direction === "in";
  const emoji = [...bubble.reactions.values()].filter(Boolean);
  const gone = bubble.deleted ? h("p", {}, "This message was deleted") : null;
  const label = preview(content);
  const tool = (name, text, act) => h("button", { type: "button", class: "round", "aria-label": `${text}: ${label}`, onclick: act }, icon(name));
  return h("div", { id: record.id, class: `msg ${record.direction}${turn ? " turn" : ""}${emoji.length ? " reacted" : ""}${gone ? " gone" : ""}` },
    h("div", { class: `bubble${["location", "contact", "contacts", "document", "poll"].includes(content.type) ? " wide" : ""}` },
      isGroup(state.chat) ? h("p", { class: "sender" }, by === state.phone ? phone().name : nameOf(by)) : null,
      ...(gone ? [gone] : [quoted(content), ...draw(bubble)]),
      meta(bubble, mine),
      record.refused?.length ? h("p", { class: "why" }, `The server refused it: ${record.refused.at(-1)}`) : null),
    gone ? null : h("div", { class: "tools" },
      tool("reply", "Reply to", () => answer("replyTo", record.id, label)),
      tool("smile", "React to", (event) => chooseEmoji(event.currentTarget, (one) => trying(() => say({ reaction: { id: record.id, emoji: one } })))),
      mine && by === me() && content.type === "text" ? tool("edit", "Edit", () => answer("edit", record.id, bubble.edited ?? content.text)) : null,
      mine && by === me() ? tool("bin", "Delete", () => trying(() => say({ delete: { id: record.id } }))) : null),
    emoji.length ? h("div", { class: "reactions", "aria-label": `Reactions: ${emoji.join(" ")}` }, emoji.join("")) : null);
}

function quoted(content) {
  if (!content.reply) return null;
  const original = state.records.get(content.reply);
  return h("button", { type: "button", class: "quote", onclick: () => {
    const row = document.getElementById(content.reply);
    row?.scrollIntoView({ block: "center", behavior: "smooth" });
    row?.classList.add("flash");
    setTimeout(() => row?.classList.remove("flash"), 1300);
  } }, original ? preview(contentOf(original)) : "An earlier message");
}

/** The time, and how far the message has come. */
function meta({ record, edited }, mine) {
  const line = h("div", { class: "meta" }, edited !== null ? h("span", {}, "edited") : null, h("span", {}, clock(record.since)));
  if (mine) {
    const ticks = record.read || record.received ? icon("ticks", record.read ? "Read by the linked device" : "Arrived at the linked device") : icon("tick", "Waits for the linked device");
    if (record.read) ticks.classList.add("read");
    if (!record.received && record.nacked.length) line.append(h("span", { class: "failed" }, `refused, ${record.nacked.at(-1)}`));
    line.append(ticks);
    return line;
  }
  const receipts = Object.entries(record.receipts).filter(([who]) => who !== record.account).map(([, one]) => one);
  const word = receipts.some((one) => one.played) ? "played" : receipts.some((one) => one.read) ? "read" : receipts.some((one) => one.delivered) ? "delivered" : record.acked.length ? "sent" : record.refused.length ? "failed" : "on its way";
  line.append(h("span", { class: word }, word));
  return line;
}

// --- how each type looks --------------------------------------------------------------------------

function draw({ record, content, by, edited, votes }) {
  const source = `/_sandbox/web/media/${holderOf(record)}/${encodeURIComponent(record.id)}`;
  const card = (name, title, more) => h("div", { class: "card" }, icon(name), h("span", {}, h("b", {}, title), h("small", {}, more ?? "")));
  if (content.error) return [card("file", NAMES[content.type], `The phone could not open it: ${content.error}`)];
  switch (content.type) {
    case "text": return [paragraph(edited ?? content.text)];
    case "image": return [h("img", { class: "picture", src: source, alt: content.caption || "A picture" }), paragraph(content.caption)];
    case "sticker": return [h("img", { class: "sticker", src: source, alt: "A sticker" })];
    case "audio": return [h("audio", { controls: true, preload: "none", src: source })];
    case "video": return [h("video", { controls: true, preload: "none", src: source }), paragraph(content.caption)];
    case "document": return [h("a", { class: "card", href: source, download: content.fileName ?? "file" }, icon("file"), h("span", {}, h("b", {}, content.fileName ?? "Document"), h("small", {}, content.mimetype ?? ""))), paragraph(content.caption)];
    case "location": return [card("pin", content.name ?? "A place", content.address ?? `${content.latitude}, ${content.longitude}`)];
    case "contact": return [card("person", content.name ?? "Somebody", /waid=(\d+)/.exec(content.vcard ?? "")?.[1])];
    case "contacts": return content.contacts.map((one) => card("person", one.name ?? "Somebody"));
    case "poll": return [h("p", { class: "head" }, content.name), h("ul", { class: "poll" }, ...content.options.map((option) => h("li", {},
      record.direction === "out" ? h("button", { type: "button", onclick: () => trying(() => say({ vote: { id: record.id, options: [option] } })) }, option) : option))),
    votes.size ? h("p", { class: "foot" }, `Voted: ${[...votes].map(nameOf).join(", ")}`) : null];
    case "reaction": return [h("p", {}, content.emoji || "took a reaction back")];
    default: return [h("p", { class: "kind" }, `${NAMES[content.type] ?? content.type}${content.fields ? ` (${content.fields.join(", ")})` : ""}`)];
  }
}

/** Whose phone has the file of a message. */
function holderOf(record) {
  if (record.direction === "in") return record.from;
  return Object.entries(record.recipients).find(([who, one]) => who !== record.account && one.content)?.[0] ?? record.chat;
}

// --- the person acts ------------------------------------------------------------------------------

/** Reply to a message, or edit it, with the next thing written. */
function answer(how, id = null, text = "") {
  state.answering = how ? { how, id } : null;
  $("quoting").hidden = !how;
  if (!how) return;
  $("quoting").querySelector("p").textContent = how === "edit" ? `Edit: ${text}` : text;
  if (how === "edit") $("composer-text").value = text;
  $("composer-text").focus();
}

writing((text) => {
  if (!state.chat) return false;
  const answering = state.answering;
  if (!clients().length) { toast(DEAF); return false; }
  answer(null);
  trying(() => say(answering?.how === "edit" ? { edit: { id: answering.id, text } } : { text, ...(answering ? { replyTo: answering.id } : {}) }));
  typed("paused");
  return true;
});
$("quoting").querySelector("button").addEventListener("click", () => answer(null));

let wrote = 0;
/** Let linked devices see that somebody writes; not at every key. */
function typed(how) {
  const now = Date.now();
  if (!state.chat || !clients().length || (how === "composing" && now - wrote < 4000)) return;
  wrote = how === "composing" ? now : 0;
  ask("typing", { from: me(), ...place(), state: how }).catch((error) => toast(error.message));
}
$("composer-text").addEventListener("input", () => typed($("composer-text").value ? "composing" : "paused"));

$("attach-menu").addEventListener("toggle", (event) => { if (event.newState === "open") pop($("attach-menu"), $("attach")); });
$("attach-menu").addEventListener("click", (event) => {
  const type = event.target.closest("button")?.dataset.send;
  if (!type || !state.chat) return;
  $("attach-menu").hidePopover();
  if (type === "file") $("file").click();
  else if (type === "poll") makePoll();
  else trying(() => say({ [type]: {}, ...replying() }));
});

function replying() {
  const answering = state.answering;
  answer(null);
  return answering?.how === "replyTo" ? { replyTo: answering.id } : {};
}

const KINDS = [[/^image\/webp$/, "sticker"], [/^image\//, "image"], [/^video\//, "video"], [/^audio\//, "audio"]];
$("file").addEventListener("change", () => trying(async () => {
  const [chosen] = $("file").files;
  $("file").value = "";
  if (!chosen) return;
  const type = chosen.type || "application/octet-stream";
  const response = await fetch("/_sandbox/web/files", { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: chosen });
  const stored = await response.json();
  if (!response.ok) throw new Error(stored.error);
  const kind = KINDS.find(([pattern]) => pattern.test(type))?.[1] ?? "document";
  await say({ [kind]: { file: stored.file, mimetype: type, ...(kind === "document" ? { fileName: chosen.name } : {}) } });
}));

function makePoll() {
  show($("poll-dialog"), async (form) => {
    const options = form.get("options").split("\n").map((one) => one.trim()).filter(Boolean);
    if (options.length < 2) throw new Error("A poll has two options at least.");
    await say({ poll: { name: form.get("name"), options } });
  });
}

$("back").addEventListener("click", () => { document.body.dataset.pane = "chats"; state.chat = null; drawChats(); });
$("as").addEventListener("change", () => { drawLog(); markRead([...state.records.values()]); });
$("phone").addEventListener("change", () => trying(async () => {
  state.phone = $("phone").value;
  localStorage.setItem("phone", state.phone);
  state.chat = null;
  state.unread.clear();
  await load();
}));

// --- devices --------------------------------------------------------------------------------------

function drawDevices() {
  const here = clients();
  $("unlinked").hidden = !phone() || here.length > 0;
  $("devices-label").textContent = here.length ? `Linked devices (${here.length})` : "Link a device";
  $("devices-title").textContent = phone() ? `Devices of ${phone().name}` : "Linked devices";
  $("devices").replaceChildren(...here.map((one) => h("li", {},
    h("span", { class: one.connected ? "on" : "off" }, `Device ${one.device}`, h("small", {}, one.connected ? "connected" : one.pending.length ? `offline, ${one.pending.length} waiting` : "offline")),
    h("button", { type: "button", onclick: () => trying(() => ask("unlink", { phone: state.phone, device: one.device })) }, "Unlink"))));
}

function openDevices() {
  if (!phone()) return;
  $("devices-problem").textContent = "";
  drawDevices();
  $("devices-dialog").showModal();
}
$("open-devices").addEventListener("click", openDevices);
$("banner-link").addEventListener("click", openDevices);
$("devices-dialog").querySelector("[data-close]").addEventListener("click", () => $("devices-dialog").close());

/** Link with what is in *form*; what is wrong with it is said beside it. */
async function link(form, path, body) {
  $("devices-problem").textContent = "";
  try {
    const made = await ask(path, { phone: state.phone, ...body });
    form.reset();
    $("devices-dialog").close();
    toast(`Linked, as device ${made.device}`);
  } catch (error) { $("devices-problem").textContent = error.message; }
}
$("scan-form").addEventListener("submit", (event) => {
  event.preventDefault();
  link(event.target, "scan", { qr: new FormData(event.target).get("qr").trim() });
});
$("code-form").addEventListener("submit", (event) => {
  event.preventDefault();
  link(event.target, "pairing-code", { code: new FormData(event.target).get("code").trim() });
});

// A browser that can read codes reads a screenshot; elsewhere the text has to do.
if ("BarcodeDetector" in window) {
  $("picture-label").hidden = false;
  $("picture").addEventListener("change", async () => {
    const [chosen] = $("picture").files;
    $("picture").value = "";
    if (!chosen) return;
    try {
      const [code] = await new window.BarcodeDetector({ formats: ["qr_code"] }).detect(await createImageBitmap(chosen));
      if (!code) throw new Error("There is no QR code in that picture.");
      $("scan-form").elements.qr.value = code.rawValue;
      $("scan-form").requestSubmit();
    } catch (error) { $("devices-problem").textContent = error.message; }
  });
}

// --- dialogs --------------------------------------------------------------------------------------

$("open-phone").addEventListener("click", () => {
  $("phone-dialog").querySelector("form").reset();
  show($("phone-dialog"), async (form) => {
    const made = await ask("phones", { phone: digits(form.get("phone")), ...(form.get("name") ? { name: form.get("name") } : {}) });
    state.phone = made.phone;
    localStorage.setItem("phone", made.phone);
    state.chat = null;
    await load();
  });
});

$("open-contact").addEventListener("click", () => {
  $("contact-dialog").querySelector("form").reset();
  show($("contact-dialog"), async (form) => {
    const made = await ask("contacts", { phone: digits(form.get("phone")), name: form.get("name"), ...(form.get("lid") === "on" ? { addressing: "lid" } : {}) });
    await load();
    await openChat(made.phone);
  });
});

$("open-group").addEventListener("click", () => {
  $("group-dialog").querySelector("form").reset();
  $("group-people").replaceChildren(...[...state.people].filter(([one]) => one !== state.phone).map(([one, name]) =>
    h("label", { class: "check" }, h("input", { type: "checkbox", name: "member", value: one }), name)));
  show($("group-dialog"), async (form) => {
    const members = form.getAll("member");
    if (!members.length) throw new Error("Choose somebody.");
    const made = await ask("groups", { subject: form.get("subject"), participants: [...members, state.phone] });
    await load();
    await openChat(made.groupId);
  });
});

$("members").addEventListener("click", () => {
  const group = state.groups.get(state.chat);
  const change = (how, body) => ask(`groups/${encodeURIComponent(group.id)}/${how}`, body);
  const dialog = $("members-dialog");
  dialog.querySelector("[name=subject]").value = group.subject;
  $("members-add").replaceChildren(h("option", { value: "" }, "nobody"), ...[...state.people].filter(([one]) => !group.members.includes(one)).map(([one, name]) => h("option", { value: one }, name)));
  $("members-list").replaceChildren(...group.members.map((one) => h("li", {}, h("span", {}, nameOf(one), h("small", {}, `+${one}`)),
    h("button", { type: "button", "aria-label": `Remove ${nameOf(one)}`, onclick: (event) => { const row = event.currentTarget.closest("li"); trying(async () => { await change("remove", { participants: [one] }); row.remove(); }); } }, "Remove"))));
  show(dialog, async (form) => {
    if (form.get("subject") !== group.subject) await change("subject", { subject: form.get("subject") });
    if (form.get("add")) await change("add", { participants: [form.get("add")] });
  });
});

$("start-again").addEventListener("click", () => trying(async () => { await ask("start", {}); await load(); }));

// --- live -----------------------------------------------------------------------------------------

let typingTimer;
function stopTyping() { clearTimeout(typingTimer); $("typing").hidden = true; }

listen({
  resync: () => trying(load),
  wire({ entry }) { drawEntry(entry); },
  "web.message"({ message }) {
    if (message.account !== state.phone) return;
    if (!isGroup(message.chat) && !state.people.has(message.chat)) { reload(); return; }
    const fresh = (state.last[message.chat]?.since ?? 0) < message.since;
    if (fresh || state.last[message.chat]?.id === message.id) state.last[message.chat] = message;
    if (message.chat === state.chat) {
      state.records.set(message.id, message);
      drawLog();
      if (message.direction === "out") { stopTyping(); markRead([message]); }
    } else if (fresh && message.direction === "out") state.unread.set(message.chat, (state.unread.get(message.chat) ?? 0) + 1);
    drawChats();
  },
  web(event) {
    if (event.what !== "presence") { reload(); return; }
    if (event.account !== state.phone || event.to !== state.chat) return;
    if (!["composing", "recording"].includes(event.state)) { stopTyping(); return; }
    $("typing").hidden = false;
    clearTimeout(typingTimer);
    typingTimer = setTimeout(stopTyping, 25_000);
  },
});
