// wad's API: one way to ask, and what may come back instead of an answer.

const BASE = "/api/whatsapp";
/** Longer than the longest `Prefer: wait` the API grants (25 s). */
const PATIENCE = 30_000;

let token = null;
let skew = 0; // the daemon's clock less ours, in milliseconds
const listeners = new Set();

/** A refusal (RFC 9457), or no answer at all: then `status` is 0. `retryAt` is in milliseconds of our clock, or null. */
export class Problem extends Error {
  constructor(status, body, headers = new Headers()) {
    super(body.detail ?? body.title ?? String(status));
    this.status = status;
    this.code = body.code ?? "";
    this.title = body.title ?? String(status);
    this.detail = body.detail ?? "";
    this.errors = Array.isArray(body.errors) ? body.errors : [];
    this.reason = body.reason ?? null;
    this.messageId = body.messageId ?? null;
    this.requestId = headers.get("X-Request-Id");
    const seconds = Number(body.retryAfter ?? headers.get("Retry-After") ?? NaN);
    this.retryAt = Number.isFinite(seconds) ? Date.now() + seconds * 1000 : null;
  }

  /** Waiting is all that can be done about it. */
  get isOutage() { return this.status === 0 || this.status === 503; }
}

/** Use this token from now on; null: none. */
export function hold(given) { token = given; }

/** Call `heard(problem or null)` after each request: whether wad answers, and if not, why. */
export function onAnswer(heard) { listeners.add(heard); }

/** Now, by the daemon's clock, in milliseconds: it is that clock which codes expire by. */
export const serverNow = () => Date.now() + skew;

/** The headers that every request carries. */
export const authorised = (more = {}) => ({ ...more, Authorization: `Bearer ${token}` });

/**
 * Ask, and return the decoded answer; a refusal is thrown as a Problem.
 * `as`: "json" (the default) or "blob".
 */
export async function call(method, path, { body, headers = {}, query = {}, as = "json", signal } = {}) {
  const asked = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== ""));
  const url = `${BASE}${path}${asked.size ? `?${asked}` : ""}`;
  const limit = AbortSignal.timeout(PATIENCE);
  const request = {
    method,
    headers: authorised(body === undefined ? headers : { "Content-Type": "application/json", ...headers }),
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: signal ? AbortSignal.any([limit, signal]) : limit,
  };
  try {
    const response = await fetch(url, request);
    noteClock(response);
    if (!response.ok) throw await problemOf(response);
    const answer = response.status === 204 ? null : await (as === "blob" ? response.blob() : response.json());
    tell(null);
    return answer;
  } catch (error) {
    if (signal?.aborted) throw error;
    const problem = error instanceof Problem ? error : new Problem(0, { code: "no_answer", title: "", detail: error.message });
    tell(problem);
    throw problem;
  }
}

export const get = (path, query, options) => call("GET", path, { query, ...options });
export const post = (path, body, options) => call("POST", path, { body, ...options });

/** The Problem that a refusal holds; of a proxy's own page, its status alone. */
export async function problemOf(response) {
  let body = {};
  try { body = await response.json(); } catch { /* not wad's: a proxy's page says nothing that helps */ }
  return new Problem(response.status, body !== null && typeof body === "object" ? body : {}, response.headers);
}

/** `/sessions/<id>` and what is below it, whatever the id holds. */
export const sessionPath = (id, below = "") => `/sessions/${encodeURIComponent(id)}${below}`;

/** The names of the providers that this wad has, as it describes itself. */
export async function providersThere() {
  const response = await fetch("/openapi.json");
  if (!response.ok) throw await problemOf(response);
  return (await response.json()).components.schemas.NewSessionBody.properties.provider.enum;
}

function noteClock(response) {
  const date = Date.parse(response.headers.get("Date") ?? "");
  // The header has whole seconds: what is within them is no skew.
  if (!Number.isNaN(date)) skew = Math.abs(date - Date.now()) < 2000 ? 0 : date - Date.now();
}

function tell(problem) { for (const heard of listeners) heard(problem); }
