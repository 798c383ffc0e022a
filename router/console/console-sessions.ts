/**
 * Who has signed in to the console of this edge?
 *
 * In memory, of this process alone: a session ends with it, after a while without a request, at the
 * latest after a working day, and never later than the token that began it or its place in the
 * operators file. What a browser holds is
 * random; what is kept here is its hash.
 */
import type { ConsoleRole } from './console-state.ts';
import { type Person, sha256 } from './credentials.ts';

export type ConsoleSession = {
  readonly id: string;
  readonly name: string;
  readonly role: ConsoleRole;
  readonly entry: string;
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
  begin({ id, name, role, entry, expiresAtMs }: Person): string {
    this.#sweep();
    const mine = [...this.#kept].filter(([, one]) => one.id === id);
    const all = [...this.#kept];
    const gone = mine.length >= SESSIONS_EACH_MAX ? mine : all.length >= SESSIONS_MAX ? all : [];
    if (gone[0] !== undefined) this.#kept.delete(gone[0][0]);
    const secret = this.#options.drawSecret();
    const nowMs = this.#options.now();
    this.#kept.set(keyOf(secret), {
      id,
      name,
      role,
      entry,
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
      this.#kept.delete(key);
      return undefined;
    }
    kept.usedAtMs = this.#options.now();
    return kept;
  }

  end(secret: string): void {
    this.#kept.delete(keyOf(secret));
  }

  /** Those whom nothing lets in any more; they are told. */
  endWhere(isOver: (session: ConsoleSession) => boolean): ConsoleSession[] {
    const ended = [...this.#kept].filter(([, session]) => isOver(session));
    for (const [key] of ended) this.#kept.delete(key);
    return ended.map(([, session]) => session);
  }

  #sweep(): void {
    for (const [key, kept] of this.#kept) if (this.#isOver(kept)) this.#kept.delete(key);
  }

  endAll(): void {
    this.#kept.clear();
  }

  #isOver({ startedAtMs, usedAtMs, expiresAtMs }: Kept): boolean {
    const nowMs = this.#options.now();
    return (
      nowMs - usedAtMs >= IDLE_MS_MAX ||
      nowMs - startedAtMs >= SESSION_MS_MAX ||
      (expiresAtMs !== undefined && expiresAtMs <= this.#options.wallClock())
    );
  }
}

function keyOf(secret: string): string {
  return sha256(secret).toString('base64');
}
