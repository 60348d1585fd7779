// The event stream. EventSource cannot send a token, so this reads it by fetch: it resumes, and says when it is cut.

import { Problem, authorised, problemOf } from "./api.js";

/** The daemon sends at least a comment every 15 s: after twice that, and a little, nobody is there. */
const SILENCE = 35_000;
const LONGEST = 30_000; // between two attempts

/** Takes the stream's text in any pieces, and gives back the whole events in it (WHATWG HTML, 9.2.6). */
export class Frames {
  #rest = "";
  #event = { id: null, type: "", data: [] };
  retry = null;

  /** The events that are complete with this piece: [{id, type, data}]. */
  push(piece) {
    this.#rest += piece;
    const lines = this.#rest.split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    const done = [];
    for (const line of lines) {
      if (line !== "") { this.#take(line); continue; }
      const { id, type, data } = this.#event;
      if (data.length) done.push({ id, type: type || "message", data: data.join("\n") });
      this.#event = { id, type: "", data: [] };
    }
    return done;
  }

  #take(line) {
    const [, name, value] = /^([^:]*)(?:: ?)?(.*)$/s.exec(line);
    if (name === "data") this.#event.data.push(value);
    else if (name === "event") this.#event.type = value;
    else if (name === "id") this.#event.id = value;
    else if (name === "retry" && /^\d+$/.test(value)) this.retry = Number(value);
  }
}

/**
 * Listens until stopped. `heard(event)` gets each event, decoded; `told(state)` how the stream is:
 * {live, since, retryAt, problem, resumed}. `resumed` false on a live stream: what happened before it is not in it.
 */
export class Stream {
  #last = null;
  #stopped = new AbortController();
  #wake = null;
  #failures = 0;
  #retry = 2000;

  constructor({ heard, told }) { this.heard = heard; this.told = told; }

  stop() { this.#stopped.abort(); this.#wake?.(); }

  /** Do not wait for the next attempt. */
  now() { this.#wake?.(); }

  async run() {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      let problem = null;
      try { await this.#listen(signal); } catch (error) {
        problem = error instanceof Problem ? error : new Problem(0, { code: "no_answer", detail: error.message });
      }
      if (signal.aborted) return;
      // An id that wad does not take would be refused for ever.
      if (problem?.status === 422) this.#last = null;
      this.#failures += 1;
      const pause = Math.min(LONGEST, this.#retry * 2 ** Math.min(this.#failures - 1, 6)) * (0.75 + Math.random() / 2);
      const retryAt = Math.max(Date.now() + pause, problem?.retryAt ?? 0);
      this.told({ live: false, since: Date.now(), retryAt, problem, resumed: false });
      await this.#sleep(retryAt - Date.now());
    }
  }

  async #listen(signal) {
    const silent = new AbortController();
    let watch = null;
    const heardSomething = () => { clearTimeout(watch); watch = setTimeout(() => silent.abort(), SILENCE); };
    heardSomething();
    try {
      const headers = authorised({ Accept: "text/event-stream", ...(this.#last === null ? {} : { "Last-Event-ID": this.#last }) });
      const response = await fetch("/api/whatsapp/events", { headers, cache: "no-store", signal: AbortSignal.any([signal, silent.signal]) });
      if (!response.ok) throw await problemOf(response);
      this.told({ live: true, since: Date.now(), retryAt: null, problem: null, resumed: this.#last !== null });
      const frames = new Frames();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        heardSomething();
        this.#failures = 0;
        for (const frame of frames.push(value)) this.#take(frame);
        this.#retry = frames.retry ?? this.#retry;
      }
    } finally { clearTimeout(watch); }
  }

  #take(frame) {
    if (frame.id !== null) this.#last = frame.id;
    const { timestamp, data } = JSON.parse(frame.data);
    this.heard({ id: frame.id, type: frame.type, at: timestamp, data });
  }

  #sleep(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => { clearTimeout(timer); resolve(); };
    });
  }
}
