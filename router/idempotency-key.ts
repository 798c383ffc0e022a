/**
 * Is this the same request as one that was made before?
 *
 * A client says so with `Idempotency-Key`, and the router believes it as far as method, address and
 * body agree. Here the field is read, and turned into what may be stored: keyed hashes that every
 * edge computes alike and nobody can compute who has the database alone. What is done with them is
 * `once.ts`'s business. The field is that of draft-ietf-httpapi-idempotency-key-header.
 */
import { createHash, createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import { uuid8From } from './uuid8.ts';

export const KEY_HEADER = 'idempotency-key';

/** A UUID has 36; whoever needs more than this is sending something else. */
export const KEY_CHARS_MAX = 255;

export type KeyReading = { key: string } | { why: string };

/** A string of RFC 9651 section 3.3.3, without parameters. */
const QUOTED = /^"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"$/;
/** As many clients send it: visible characters, but none that a list or a string is made of. */
const BARE = /^[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]+$/;

/** The key in a field's value. `"a"` and `a` are the same key. */
export function readIdempotencyKey(value: string): KeyReading {
  const text = value.trim();
  const quoted = QUOTED.exec(text)?.[1]?.replaceAll(/\\(["\\])/g, '$1');
  const key = quoted ?? (BARE.test(text) ? text : undefined);
  if (key === undefined) {
    return { why: 'It is neither a string in quotes nor one word of visible ASCII characters' };
  }
  if (key === '') return { why: 'It is empty' };
  if (key.length > KEY_CHARS_MAX) return { why: `It is longer than ${KEY_CHARS_MAX} characters` };
  return { key };
}

export class IdempotencyHashes {
  #stored: KeyObject;
  #request: KeyObject;
  #id: KeyObject;

  /** @param root the same in every region, and never changed: stored answers are found by it. */
  constructor(root: Uint8Array) {
    const derived = (what: string) =>
      createSecretKey(createHmac('sha256', root).update(`domicile ${what}`).digest());
    this.#stored = derived('idempotency keys');
    this.#request = derived('requests with an idempotency key');
    this.#id = derived('ids from idempotency keys');
  }

  /** What stands for the key of this scope: a subject's id, or nothing where data is nobody's. */
  ofKey(scope: string, key: string): Buffer {
    return createHmac('sha256', this.#stored)
      .update(JSON.stringify([scope, key]))
      .digest();
  }

  ofRequest(method: string, target: string, body: Uint8Array): Buffer {
    const digest = createHash('sha256').update(body).digest('base64url');
    const parts = JSON.stringify([method, target, digest]);
    return createHmac('sha256', this.#request).update(parts).digest();
  }

  /** The id of whoever is created under this key without a chosen one. */
  idOf(key: string): string {
    return uuid8From(createHmac('sha256', this.#id).update(key).digest());
  }
}
