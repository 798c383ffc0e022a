/**
 * Has it happened yet?
 *
 * For facts about other processes that nobody announces. Asks at once and then in short steps,
 * until an answer comes or the time is up.
 */
import { setTimeout as pause } from 'node:timers/promises';

/** A look at a small file or /proc costs well under a millisecond. */
const EVERY_MS = 10;

/** The first answer that is not undefined; undefined when time ran out or `signal` fired. */
export async function waitUntil<T>(
  ask: () => T | undefined | Promise<T | undefined>,
  { timeoutMs, everyMs = EVERY_MS }: { timeoutMs: number; everyMs?: number },
): Promise<T | undefined> {
  const limit = AbortSignal.timeout(timeoutMs);
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (limit.aborted) return undefined;
    await pause(everyMs);
  }
}
