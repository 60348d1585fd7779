// Looking again and again, one look at a time.

/**
 * Do `action` every so many milliseconds, from now on: {now(), stop()}. `now` looks at once, or as soon as the look
 * under way is over. An action may return the time (in milliseconds) before which it is of no use to look again.
 */
export function repeat(every, action) {
  let timer = null;
  let running = false;
  let again = false;
  let stopped = false;

  async function run() {
    clearTimeout(timer);
    if (running) { again = true; return; }
    running = true;
    let until = 0;
    try {
      do { again = false; until = await action() ?? 0; } while (again && !stopped);
    } finally {
      running = false;
      if (!stopped) timer = setTimeout(run, Math.max(every, until - Date.now()));
    }
  }

  run();
  return { now: run, stop() { stopped = true; clearTimeout(timer); } };
}
