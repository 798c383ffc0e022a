/**
 * How does PostgreSQL know for whom an edge is asking?
 *
 * Before each query the edge sets `domicile.subject` on the connection: the subject, signed with a
 * key that the database knows and no SQL can read. Row security compares rows with it, so that SQL
 * which a handler got wrong, or which somebody smuggled into one, sees no other subject's rows.
 * `regions/schema/0002-enforcement.sql` verifies it.
 */
import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';

/** How the request came here: straight from its client, or through an edge of another region. */
export type Way = 'direct' | 'through-foreign-edge';

const FLAGS: Readonly<Record<Way, string>> = { direct: 'd', 'through-foreign-edge': 'f' };
/** 128 bits, as in the directory's keys. */
const MAC_HEX_DIGITS = 32;
/** SHA-256 takes so many bytes at a time. */
const BLOCK_BYTES = 64;

export class SubjectTokens {
  #key: KeyObject;

  constructor(key: Uint8Array) {
    this.#key = createSecretKey(key);
  }

  /** What the setting `domicile.subject` is given. */
  of(subject: string, way: Way): string {
    const signed = FLAGS[way] + subject;
    const mac = createHmac('sha256', this.#key).update(signed).digest('hex');
    return mac.slice(0, MAC_HEX_DIGITS) + signed;
  }
}

/** The two padded halves of an HMAC-SHA256 key (RFC 2104, section 2), which PostgreSQL keeps. */
export function hmacPads(key: Uint8Array): { inner: Buffer; outer: Buffer } {
  if (key.length > BLOCK_BYTES) throw new RangeError(`a key of ${key.length} bytes is too long`);
  const padded = Buffer.alloc(BLOCK_BYTES);
  padded.set(key);
  return {
    inner: padded.map((byte) => byte ^ 0x36) as Buffer,
    outer: padded.map((byte) => byte ^ 0x5c) as Buffer,
  };
}
