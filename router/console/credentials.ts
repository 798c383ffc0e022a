/**
 * Whose token is this?
 *
 * A token of our own is compared by its hash, in constant time, with every one that is known; any
 * other is tried as one that an issuer has signed. Wrong tokens are counted for each address. One
 * that is right gets in whatever came from its address before, so that nobody can lock others out
 * by guessing: what is too short to be one is not looked at, and no guess meets the others.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { ConsoleRole } from './console-state.ts';
import { entryOf, type Operators } from './operators-file.ts';

export type Person = {
  /** Tells two of one name apart. */
  id: string;
  name: string;
  role: ConsoleRole;
  /** What stands for the entry of the operators file that lets him in. */
  entry: string;
  /** Milliseconds since the epoch, from when on the token is worth nothing. */
  expiresAtMs: number | undefined;
};

export type Verdict =
  | { kind: 'known'; person: Person }
  | { kind: 'unknown' }
  | { kind: 'limited'; retryAfterMs: number };

/** What a token must say that was made for one sign-in. */
export type ForSignIn = { audience: string; nonce: string };

/** The person that a signed token names; undefined for whatever is not one of ours. */
export type VerifyJwt = (token: string, signIn?: ForSignIn) => Promise<Person | undefined>;

/** As long as its version is the same, so is everything else of it. */
export type Allowed = {
  readonly operators: Operators;
  readonly verifyJwt: VerifyJwt | undefined;
  readonly version: number;
};

export type CredentialsOptions = {
  allowed: Allowed;
  /** Monotonic milliseconds. */
  now: () => number;
  /** Milliseconds since the epoch. */
  wallClock: () => number;
};

/** Of 24 random bytes in hexadecimal digits 48; a word that somebody thought of is shorter. */
export const TOKEN_CHARS_MIN = 32;
/** A signed token with many groups in it; a header field of Node ends soon after. */
const TOKEN_CHARS_MAX = 16_384;

/** A person who pastes the wrong thing stays far below; one more every second after that. */
export const ATTEMPTS_MAX = 20;
const ATTEMPT_EVERY_MS = 1_000;
const ADDRESSES_MAX = 10_000;

/** A signed token that was verified is believed for as long without looking at its keys again. */
const VERIFIED_MS = 30_000;
const VERIFIED_MAX = 1_000;

type Attempts = { left: number; atMs: number };

export class Credentials {
  #options: CredentialsOptions;
  #attempts = new LRUCache<string, Attempts>({ max: ADDRESSES_MAX });
  #version = 0;
  /** By the hash of the token. */
  #verified = new LRUCache<string, { person: Person; untilMs: number }>({ max: VERIFIED_MAX });

  constructor(options: CredentialsOptions) {
    this.#options = options;
  }

  async of(token: string, address: string): Promise<Verdict> {
    const { allowed } = this.#options;
    if (this.#version !== allowed.version) {
      this.#version = allowed.version;
      this.#verified.clear();
    }
    const person = this.#ownPerson(token) ?? this.#remembered(token);
    if (person !== undefined) return { kind: 'known', person };
    const retryAfterMs = this.attempt(address);
    if (retryAfterMs > 0) return { kind: 'limited', retryAfterMs };
    const signed = await this.#signedPerson(token);
    if (signed === undefined) return { kind: 'unknown' };
    this.forgive(address);
    return { kind: 'known', person: signed };
  }

  /**
   * Counts one; more than none: how long it must wait instead. Asked before anybody else is, so that
   * many at once are counted as many.
   */
  attempt(address: string): number {
    const waitMs = this.#mustWaitMs(address);
    if (waitMs === 0) this.#count(address);
    return waitMs;
  }

  #ownPerson(token: string): Person | undefined {
    if (token.length < TOKEN_CHARS_MIN || token.length > TOKEN_CHARS_MAX) return undefined;
    const given = sha256(token);
    let found: Person | undefined;
    // All of them are compared, whoever is met.
    for (const operator of this.#options.allowed.operators.operators) {
      const { name, role, sha256: known } = operator;
      if (timingSafeEqual(given, known)) {
        found = { id: name, name, role, entry: entryOf(operator), expiresAtMs: undefined };
      }
    }
    return found;
  }

  #remembered(token: string): Person | undefined {
    const key = sha256(token).toString('base64');
    const verified = this.#verified.get(key);
    if (verified === undefined) return undefined;
    const { person, untilMs } = verified;
    if (untilMs > this.#options.now() && !this.#hasExpired(person)) return person;
    this.#verified.delete(key);
    return undefined;
  }

  async #signedPerson(token: string): Promise<Person | undefined> {
    const { allowed, now } = this.#options;
    const { verifyJwt, version } = allowed;
    if (verifyJwt === undefined || token.length > TOKEN_CHARS_MAX) return undefined;
    if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) return undefined;
    const person = await verifyJwt(token);
    if (person === undefined || this.#hasExpired(person)) return undefined;
    // While its keys were asked for, somebody else may have come to decide who is let in.
    if (version !== allowed.version) return undefined;
    const key = sha256(token).toString('base64');
    this.#verified.set(key, { person, untilMs: now() + VERIFIED_MS });
    return person;
  }

  #hasExpired({ expiresAtMs }: Person): boolean {
    return expiresAtMs !== undefined && expiresAtMs <= this.#options.wallClock();
  }

  #left(address: string): Attempts {
    const nowMs = this.#options.now();
    const { left, atMs } = this.#attempts.get(address) ?? { left: ATTEMPTS_MAX, atMs: nowMs };
    const regained = (nowMs - atMs) / ATTEMPT_EVERY_MS;
    return { left: Math.min(ATTEMPTS_MAX, left + regained), atMs: nowMs };
  }

  #mustWaitMs(address: string): number {
    const { left } = this.#left(address);
    return left >= 1 ? 0 : (1 - left) * ATTEMPT_EVERY_MS;
  }

  #count(address: string): void {
    const { left, atMs } = this.#left(address);
    this.#attempts.set(address, { left: left - 1, atMs });
  }

  /** It was none of those that are counted. */
  forgive(address: string): void {
    const { left, atMs } = this.#left(address);
    this.#attempts.set(address, { left: left + 1, atMs });
  }
}

/** Whoever has an IPv6 address has at least the other 2^64 of its network as well. */
export function networkOf(address: string | undefined): string {
  if (address === undefined) return 'unknown';
  if (!address.includes(':') || address.startsWith('::ffff:')) return address;
  return address.split(':').slice(0, 4).join(':');
}

export function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
