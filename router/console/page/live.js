/**
 * Is what the page shows still true?
 *
 * Follows the edge's event stream, begins it anew when it breaks, and says since when nothing came.
 */

/** @typedef {import('../console-state.ts').ConsoleState} ConsoleState */
/**
 * @typedef {{
 *   state: (state: ConsoleState) => void,
 *   live: (live: boolean, sinceMs: number) => void,
 *   signedOut: () => void,
 * }} Told
 */

/** A state comes every second; three are missed before it is said. */
const SILENT_MS_MAX = 3_500;
const AGAIN_AFTER_MS = [500, 1_000, 2_000, 5_000];

/** @param {Told} told */
export function follow(told) {
  /** @type {EventSource | undefined} */
  let source;
  let heardAtMs = Date.now();
  let begunAtMs = 0;
  let tries = 0;
  let isLive = true;

  function say(/** @type {boolean} */ live) {
    if (live === isLive) return;
    isLive = live;
    told.live(live, heardAtMs);
  }

  function begin() {
    source?.close();
    begunAtMs = Date.now();
    const mine = new EventSource('/console/api/events');
    source = mine;
    mine.addEventListener('state', (event) => {
      heardAtMs = Date.now();
      tries = 0;
      told.state(JSON.parse(event.data));
      say(true);
    });
    mine.addEventListener('error', () => {
      if (source !== mine) return;
      mine.close();
      source = undefined;
      void again();
    });
  }

  async function again() {
    const waitMs = AGAIN_AFTER_MS[Math.min(tries, AGAIN_AFTER_MS.length - 1)];
    tries += 1;
    // A stream does not say why it was refused; this does.
    const status = await fetch('/console/api/state').then(
      async (answer) => {
        await answer.body?.cancel();
        return answer.status;
      },
      () => 0,
    );
    if (status === 401) return told.signedOut();
    setTimeout(begin, waitMs);
  }

  setInterval(() => {
    if (Date.now() - heardAtMs <= SILENT_MS_MAX) return;
    say(false);
    // Open and silent: a proxy may hold a stream whose other end is gone.
    if (source !== undefined && Date.now() - begunAtMs > 3 * SILENT_MS_MAX) begin();
  }, 500);
  begin();
}
