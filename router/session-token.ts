/**
 * How does a session travel with its client?
 *
 * As one short word in a header or a cookie: the session in binary, signed with a key that every
 * edge has. The token holds no personal data: the subject is a keyed hash. What a session means is
 * `policies/session.ts`.
 *
 * Layout before base64url, integers big-endian, text ASCII with a length byte:
 *
 *     version 1 | key id 1 | subject 16 (zeros: none) | home | epoch 4
 *     n 1 | n x ( region | system id 8 | timeline 4, its highest bit: on a replica | lsn 8 )
 *     m 1 | m x ( home of a copy that was read | region of the copy ) | tag 16
 *
 * Three regions with names of up to four letters make 154 to 161 characters.
 */
import {
  createHash,
  createHmac,
  createSecretKey,
  type KeyObject,
  timingSafeEqual,
} from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Session } from '../policies/session.ts';
import type { Seen } from '../policies/standing.ts';

const VERSION = 2;
const SUBJECT_BYTES = 16;
/** Nobody promotes two thousand million times. */
const ON_REPLICA = 0x8000_0000;
/** 128 bits: a forger who may try a million tokens a second needs 10^25 years. */
const TAG_BYTES = 16;
/** Longer words are not ours; refused before any work is spent on them. */
const TOKEN_CHARS_MAX = 1_024;
/** Clients repeat their token until a floor rises, so the last ones seen need no second MAC. */
const VERIFIED_MAX = 4_096;

export type TokenFailure =
  | { kind: 'session-token-malformed'; why: string }
  | { kind: 'session-token-forged' };

export type OpenedToken = { kind: 'session'; session: Session } | TokenFailure;

export class SessionTokens {
  #keys: { id: number; key: KeyObject }[];
  #verified = new LRUCache<string, Session>({ max: VERIFIED_MAX });

  /** The first key signs; every key is accepted, so that keys can be rotated without losing sessions. */
  constructor(keys: readonly Uint8Array[]) {
    if (keys.length === 0) throw new RangeError('at least one session key');
    // A raw key would be prepared anew for each MAC, at five times the cost.
    this.#keys = keys.map((key) => ({ id: keyId(key), key: createSecretKey(key) }));
  }

  seal(session: Session): string {
    const signing = this.#keys[0];
    if (signing === undefined) throw new RangeError('at least one session key');
    const body = encode(session, signing.id);
    const token = Buffer.concat([body, tag(body, signing.key)]).toString('base64url');
    this.#verified.set(token, session);
    return token;
  }

  open(token: string): OpenedToken {
    const known = this.#verified.get(token);
    if (known !== undefined) return { kind: 'session', session: known };
    if (token.length > TOKEN_CHARS_MAX)
      return malformed(`longer than ${TOKEN_CHARS_MAX} characters`);
    if (!/^[A-Za-z0-9_-]+$/.test(token)) return malformed('not base64url');
    const bytes = Buffer.from(token, 'base64url');
    if (bytes.toString('base64url') !== token) return malformed('not canonical base64url');
    if (bytes.length < 2 + TAG_BYTES) return malformed('too short');
    if (bytes[0] !== VERSION) return malformed(`version ${bytes[0]}, this edge reads ${VERSION}`);
    const body = bytes.subarray(0, -TAG_BYTES);
    const claimed = bytes.subarray(-TAG_BYTES);
    const genuine = this.#keys.some(
      ({ id, key }) => id === bytes[1] && timingSafeEqual(tag(body, key), claimed),
    );
    if (!genuine) return { kind: 'session-token-forged' };
    const session = decode(body);
    this.#verified.set(token, session);
    return { kind: 'session', session };
  }
}

function malformed(why: string): TokenFailure {
  return { kind: 'session-token-malformed', why };
}

/** One byte that tells two live keys apart without telling anything about either. */
function keyId(key: Uint8Array): number {
  return createHash('sha256').update('domicile session key id').update(key).digest()[0] ?? 0;
}

function tag(body: Uint8Array, key: KeyObject): Uint8Array {
  return createHmac('sha256', key).update(body).digest().subarray(0, TAG_BYTES);
}

function encode(session: Session, signingKeyId: number): Buffer {
  const home = Buffer.from(session.home ?? '', 'ascii');
  const positions = [...session.floors].flatMap(([region, floor]) =>
    floor.map((at) => ({ name: Buffer.from(region, 'ascii'), at })),
  );
  const copies = [...session.seenThrough].map((pair) => pair.map((id) => Buffer.from(id, 'ascii')));
  const positionsBytes = positions.reduce((sum, { name }) => sum + 1 + name.length + 20, 0);
  const copiesBytes = copies.flat().reduce((sum, name) => sum + 1 + name.length, 0);
  const body = Buffer.alloc(
    2 + SUBJECT_BYTES + 1 + home.length + 4 + 1 + positionsBytes + 1 + copiesBytes,
  );
  body[0] = VERSION;
  body[1] = signingKeyId;
  if (session.subject !== undefined) body.write(session.subject, 2, 'base64url');
  let offset = text(body, 2 + SUBJECT_BYTES, home);
  offset = body.writeUInt32BE(session.epoch, offset);
  offset = body.writeUInt8(positions.length, offset);
  for (const { name, at } of positions) {
    offset = text(body, offset, name);
    offset = body.writeBigUInt64BE(at.systemId, offset);
    offset = body.writeUInt32BE((at.timeline | (at.onReplica ? ON_REPLICA : 0)) >>> 0, offset);
    offset = body.writeBigUInt64BE(at.lsn, offset);
  }
  offset = body.writeUInt8(copies.length, offset);
  for (const name of copies.flat()) offset = text(body, offset, name);
  return body;
}

function text(body: Buffer, offset: number, value: Buffer): number {
  body.writeUInt8(value.length, offset);
  return offset + 1 + value.copy(body, offset + 1);
}

/** Only ever called on bytes that one of our keys has signed. */
function decode(body: Buffer): Session {
  const subject = body.subarray(2, 2 + SUBJECT_BYTES);
  let offset = 2 + SUBJECT_BYTES;
  const word = () => {
    const length = body.readUInt8(offset);
    const value = body.toString('ascii', offset + 1, offset + 1 + length);
    offset += 1 + length;
    return value;
  };
  const home = word();
  const epoch = body.readUInt32BE(offset);
  const count = body.readUInt8(offset + 4);
  offset += 5;
  const floors = new Map<string, Seen[]>();
  for (let i = 0; i < count; i++) {
    const region = word();
    const floor = floors.get(region) ?? [];
    floors.set(region, floor);
    const timeline = body.readUInt32BE(offset + 8);
    floor.push({
      systemId: body.readBigUInt64BE(offset),
      timeline: timeline & ~ON_REPLICA,
      lsn: body.readBigUInt64BE(offset + 12),
      onReplica: (timeline & ON_REPLICA) !== 0,
    });
    offset += 20;
  }
  const seenThrough = new Map<string, string>();
  const copies = body.readUInt8(offset);
  offset += 1;
  for (let i = 0; i < copies; i++) {
    const home = word();
    seenThrough.set(home, word());
  }
  return {
    subject: subject.every((byte) => byte === 0) ? undefined : subject.toString('base64url'),
    home: home === '' ? undefined : home,
    epoch,
    floors,
    seenThrough,
  };
}
