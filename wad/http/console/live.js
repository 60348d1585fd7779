// What happens, as it happens: one stream for the whole console, the last of it kept, and handed to whoever listens.

import { Stream } from "./stream.js";

/** Entries kept; the oldest go first. */
export const MOST = 500;

const hub = new EventTarget();
let stream = null;
let count = 0;

/** Newest last: {n, type, at, data}, and `type: "stream"` where the stream was cut or came back. */
export const entries = [];
/** How the stream is: {live, since, retryAt, problem, resumed}; null before the first attempt has ended. */
export let state = null;

/** Call `heard(entry)` at each entry until `signal` aborts. */
export const onEntry = (heard, signal) => hub.addEventListener("entry", ({ detail }) => heard(detail), { signal });
/** Call `told(state)` whenever the stream is cut or comes back. */
export const onState = (told, signal) => hub.addEventListener("state", ({ detail }) => told(detail), { signal });

export function listen() {
  stop();
  stream = new Stream({ heard: add, told: note });
  stream.run();
}

export function stop() {
  stream?.stop();
  stream = null;
  state = null;
  entries.length = 0;
}

export const tryNow = () => stream?.now();

function add({ type, at, data }) {
  count += 1;
  const entry = { n: count, type, at, data };
  entries.push(entry);
  if (entries.length > MOST) entries.shift();
  hub.dispatchEvent(new CustomEvent("entry", { detail: entry }));
}

function note(now) {
  const before = state;
  state = now;
  const at = new Date(now.since).toISOString();
  if (!now.live && before?.live) add({ type: "stream", at, data: { what: "cut" } });
  if (now.live && before !== null) add({ type: "stream", at, data: { what: now.resumed ? "resumed" : "gap" } });
  hub.dispatchEvent(new CustomEvent("state", { detail: now }));
}
