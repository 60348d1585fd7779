// How each type of message looks, in one line and in full. Content is in Meta's shape, whoever carried it.
import { h, icon, paragraph, safeLink } from "./parts.js";

export const NAMES = { image: "Photo", video: "Video", audio: "Voice note", document: "Document", sticker: "Sticker", location: "Location", contacts: "Contact", order: "Order", template: "Template", interactive: "Choice", reaction: "Reaction", unsupported: "Unsupported message", system: "System message", edit: "Edited a message", revoke: "Deleted a message", pin: "Pinned a message" };

/** One line that stands for a message. */
export function preview(message) {
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

/** The parts of a message's body. *acts* is what its buttons do: press, choose, complete, locate. */
export const bodyOf = (message, acts) => (message.type in DRAW ? DRAW[message.type](message.content ?? {}, message, acts) : [h("p", { class: "kind" }, NAMES[message.type] ?? message.type)]);

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

const DRAW = {
  text: (content) => [paragraph(content.body)],
  button: (content) => [paragraph(content.text)],
  image: media("image"), video: media("video"), audio: media("audio"), document: media("document"), sticker: media("sticker"),
  location: (content) => [h("div", { class: "card" }, icon("pin"), h("span", {}, h("b", {}, content.name ?? "A place"), h("small", {}, content.address ?? `${content.latitude}, ${content.longitude}`)))],
  contacts: (content) => content.map((one) => h("div", { class: "card" }, icon("person"), h("span", {}, h("b", {}, one.name?.formatted_name ?? "Somebody"), h("small", {}, one.phones?.[0]?.phone ?? "")))),
  order: (content) => [h("div", { class: "card" }, icon("list"), h("span", {}, h("b", {}, "Order"), h("small", {}, (content.product_items ?? []).map((one) => `${one.quantity} × ${one.product_retailer_id}`).join(", ")))), paragraph(content.text)],
  reaction: (content) => [h("p", {}, content.emoji || "took a reaction back")],
  system: (content) => [h("p", { class: "kind" }, content.body ?? NAMES.system)],
  template(content, message, acts) {
    const buttons = content.buttons.map((button) => button.type === "QUICK_REPLY"
      ? h("button", { type: "button", onclick: () => acts.press(message, button.payload) }, icon("reply"), button.text)
      : h("span", {}, icon("link"), button.text));
    return [header(content.header), paragraph(content.body), paragraph(content.footer, "foot"), buttons.length ? h("div", { class: "actions" }, ...buttons) : null];
  },
  interactive(content, message, acts) {
    if (content.button_reply) return [paragraph(content.button_reply.title)];
    if (content.list_reply) return [paragraph(content.list_reply.title), paragraph(content.list_reply.description, "foot")];
    if (content.nfm_reply) return [paragraph(content.nfm_reply.body), h("p", { class: "foot" }, h("code", {}, content.nfm_reply.response_json))];
    return [header(content.header), paragraph(content.body?.text), paragraph(content.footer?.text, "foot"), actions(content, message, acts)];
  },
};

function actions(content, message, acts) {
  const action = content.action ?? {};
  const parameters = action.parameters ?? {};
  const bar = (...children) => h("div", { class: "actions" }, ...children);
  switch (content.type) {
    case "button": return bar(...action.buttons.map(({ reply }) => h("button", { type: "button", onclick: () => acts.press(message, reply.id) }, icon("reply"), reply.title)));
    case "list": return bar(h("button", { type: "button", "aria-haspopup": "dialog", onclick: () => acts.choose(action, message) }, icon("list"), action.button));
    case "cta_url": return bar(h("a", { href: safeLink(parameters.url), target: "_blank", rel: "noopener noreferrer" }, icon("link"), parameters.display_text));
    case "location_request_message": return bar(h("button", { type: "button", onclick: () => acts.locate(message) }, icon("pin"), "Send location"));
    case "flow": return bar(h("button", { type: "button", "aria-haspopup": "dialog", onclick: () => acts.complete(message) }, icon("file"), parameters.flow_cta));
    case "carousel": return h("div", { class: "cards" }, ...action.cards.map((card) => h("div", {}, header(card.header), paragraph(card.body?.text))));
    case "product_list": return bar(h("span", {}, icon("list"), action.sections.flatMap((one) => one.product_items.map((item) => item.product_retailer_id)).join(", ")));
    case "product": return bar(h("span", {}, icon("list"), action.product_retailer_id));
    default: return bar(h("span", {}, content.type.replaceAll("_", " ")));
  }
}
