/**
 * Who has signed in to the console of this edge?
 *
 * In memory, of this process alone: a session ends with it, after a while without a request, at the
 * latest after a working day, and never later than the token that began it. What a browser holds is
 * random; what is kept here is its hash.
 */
import type { ConsoleRole } from './console-state.ts';
import { type Person, sha256 } from './credentials.ts';

export type ConsoleSession = {
  readonly name: string;
  readonly role: ConsoleRole;
  /** Fires when the session ends, however it does. */
  readonly ended: AbortSignal;
};

export type ConsoleSessionsOptions = {
  /** 256 random bits in base64url. */
  drawSecret: () => string;
  /** Monotonic milliseconds. */
  now: () => number;
  /** Milliseconds since the epoch. */
  wallClock: () => number;
};

export const IDLE_MS_MAX = 30 * 60_000;
export const SESSION_MS_MAX = 12 * 3_600_000;
/** Of one person: more browsers than anybody uses. The eldest goes. */
export const SESSIONS_EACH_MAX = 8;
export const SESSIONS_MAX = 500;

type Kept = ConsoleSession & {
  ending: AbortController;
  startedAtMs: number;
  usedAtMs: number;
  expiresAtMs: number | undefined;
};

export class ConsoleSessions {
  #options: ConsoleSessionsOptions;
  /** By the hash of the secret, eldest first. */
  #kept = new Map<string, Kept>();

  constructor(options: ConsoleSessionsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#kept.size;
  }

  /** What the browser is to keep. */
  begin({ name, role, expiresAtMs }: Person): string {
    this.sweep();
    const mine = [...this.#kept].filter(([, one]) => one.name === name);
    const all = [...this.#kept];
    const gone = mine.length >= SESSIONS_EACH_MAX ? mine : all.length >= SESSIONS_MAX ? all : [];
    if (gone[0] !== undefined) this.#end(gone[0][0]);
    const secret = this.#options.drawSecret();
    const nowMs = this.#options.now();
    const ending = new AbortController();
    this.#kept.set(keyOf(secret), {
      name,
      role,
      ending,
      ended: ending.signal,
      startedAtMs: nowMs,
      usedAtMs: nowMs,
      expiresAtMs,
    });
    return secret;
  }

  /** The session of this secret, which is used hereby. */
  find(secret: string): ConsoleSession | undefined {
    const key = keyOf(secret);
    const kept = this.#kept.get(key);
    if (kept === undefined) return undefined;
    if (this.#isOver(kept)) {
      this.#end(key);
      return undefined;
    }
    kept.usedAtMs = this.#options.now();
    return kept;
  }

  end(secret: string): void {
    this.#end(keyOf(secret));
  }

  /** Ends those whose time is over; a stream that is open asks for it once a second. */
  sweep(): void {
    for (const [key, kept] of this.#kept) if (this.#isOver(kept)) this.#end(key);
  }

  endAll(): void {
    for (const key of [...this.#kept.keys()]) this.#end(key);
  }

  #isOver({ startedAtMs, usedAtMs, expiresAtMs }: Kept): boolean {
    const nowMs = this.#options.now();
    return (
      nowMs - usedAtMs >= IDLE_MS_MAX ||
      nowMs - startedAtMs >= SESSION_MS_MAX ||
      (expiresAtMs !== undefined && expiresAtMs <= this.#options.wallClock())
    );
  }

  #end(key: string): void {
    this.#kept.get(key)?.ending.abort();
    this.#kept.delete(key);
  }
}

function keyOf(secret: string): string {
  return sha256(secret).toString('base64');
}
