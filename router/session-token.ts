/**
 * How is a session written as one word that nobody else can write?
 *
 * In binary, signed with a key that every edge has. The token holds no personal data: the subject is
 * a keyed hash. What a session means is `policies/session.ts`; how tokens come with a request and
 * leave with an answer is `carried-session.ts`.
 *
 * Layout before base64url. Numbers are varints of seven bits a byte, lowest first (LEB128):
 *
 *     version 1 byte | 2 x (number of the home's name + 1, or 0) + (1: a subject follows)
 *     subject 16 bytes or none | epoch
 *     names, and for each in ascending order: 8 x its length + its positions | ASCII | positions
 *       position: 4 x timeline + (2: system id as before) + (1: on a replica)
 *                 system id 8 bytes or none | lsn
 *     copies, and for each: number of its home's name | number of the region's name + 1, or 0: several
 *     tag 16 bytes
 *
 * Equal sessions make equal tokens. Three regions with names of up to four letters make 124 characters,
 * and with names of eight letters and the largest numbers there are 183.
 */
import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { bounded, regionsOf, SEVERAL, type Session } from '../policies/session.ts';
import { type Floor, mergeFloors, NO_FLOOR, type Seen } from '../policies/standing.ts';

const VERSION = 3;
/** Written before there were names and varints; read so that an update ends no session. */
const EARLIER_VERSION = 2;
const SUBJECT_BYTES = 16;
/** 128 bits: a forger who may try a million tokens a second needs 10^25 years. */
const TAG_BYTES = 16;
/**
 * Longer words are not ours; refused before any work is spent on them. 32 regions with four
 * positions each make 3,724 characters at worst, and a browser keeps a cookie of 4,096.
 */
const TOKEN_CHARS_MAX = 4_000;
/** Clients repeat their token until a floor rises, so the last ones seen need no second MAC. */
const VERIFIED_MAX = 4_096;

export type TokenFailure =
  | { kind: 'session-token-malformed'; why: string }
  | { kind: 'session-token-forged' };

export type OpenedToken =
  /** `current`: this edge would write the same word. */
  { kind: 'session'; session: Session; current: boolean } | TokenFailure;

export class SessionTokens {
  #keys: readonly KeyObject[];
  /**
   * A look-up by the word takes no time that helps a forger: a map compares words only when their
   * hashes under a secret seed agree, and then the word was one of ours already.
   */
  #verified = new LRUCache<string, OpenedToken & { kind: 'session' }>({ max: VERIFIED_MAX });

  /** The first key signs; every key is accepted, so that keys can be rotated without losing sessions. */
  constructor(keys: readonly Uint8Array[]) {
    if (keys.length === 0) throw new RangeError('at least one session key');
    // A raw key would be prepared anew for each MAC, at five times the cost.
    this.#keys = keys.map((key) => createSecretKey(key));
  }

  seal(session: Session): string {
    const [signing] = this.#keys;
    if (signing === undefined) throw new RangeError('at least one session key');
    const carried = bounded(session);
    const body = encode(carried);
    const token = Buffer.concat([body, tag(body, signing)]).toString('base64url');
    this.#verified.set(token, { kind: 'session', session: carried, current: true });
    return token;
  }

  open(token: string): OpenedToken {
    const known = this.#verified.get(token);
    if (known !== undefined) return known;
    if (token.length > TOKEN_CHARS_MAX)
      return malformed(`longer than ${TOKEN_CHARS_MAX} characters`);
    if (!/^[A-Za-z0-9_-]+$/.test(token)) return malformed('not base64url');
    const bytes = Buffer.from(token, 'base64url');
    if (bytes.toString('base64url') !== token) return malformed('not canonical base64url');
    if (bytes.length < 2 + TAG_BYTES) return malformed('too short');
    const [version] = bytes;
    if (version !== VERSION && version !== EARLIER_VERSION)
      return malformed(`version ${version}, this edge reads ${VERSION}`);
    const body = bytes.subarray(0, -TAG_BYTES);
    const claimed = bytes.subarray(-TAG_BYTES);
    // Every key, whichever fits: how long it takes says nothing about any of them.
    const fits = this.#keys.map((key) => timingSafeEqual(tag(body, key), claimed));
    if (!fits.includes(true)) return { kind: 'session-token-forged' };
    const session = version === VERSION ? decode(body) : decodeEarlier(body);
    if (session === undefined) return malformed(`not of the form of version ${version}`);
    const opened: OpenedToken & { kind: 'session' } = {
      kind: 'session',
      session,
      current: version === VERSION && fits[0] === true,
    };
    this.#verified.set(token, opened);
    return opened;
  }
}

function malformed(why: string): TokenFailure {
  return { kind: 'session-token-malformed', why };
}

function tag(body: Uint8Array, key: KeyObject): Uint8Array {
  return createHmac('sha256', key).update(body).digest().subarray(0, TAG_BYTES);
}

function encode(session: Session): Buffer {
  const { subject, home, epoch, seenThrough } = session;
  const names = [...regionsOf(session)].sort();
  const number = (name: string) => names.indexOf(name);
  const bytes: number[] = [VERSION];
  const homeNumber = home === undefined ? 0 : number(home) + 1;
  putNumber(bytes, 2 * homeNumber + (subject === undefined ? 0 : 1));
  if (subject !== undefined) bytes.push(...subjectBytes(subject));
  putNumber(bytes, epoch);
  putNumber(bytes, names.length);
  let systemId: bigint | undefined;
  for (const name of names) {
    const floor = inOrder(session.floors.get(name) ?? NO_FLOOR);
    putNumber(bytes, 8 * name.length + floor.length);
    for (let i = 0; i < name.length; i++) bytes.push(name.charCodeAt(i));
    for (const seen of floor) {
      const repeated = seen.systemId === systemId;
      putNumber(bytes, 4 * seen.timeline + (repeated ? 2 : 0) + (seen.onReplica ? 1 : 0));
      if (!repeated) put64(bytes, seen.systemId);
      putBig(bytes, seen.lsn);
      systemId = seen.systemId;
    }
  }
  const copies = [...seenThrough].sort(([a], [b]) => (a < b ? -1 : 1));
  putNumber(bytes, copies.length);
  for (const [home, through] of copies) {
    putNumber(bytes, number(home));
    putNumber(bytes, through === SEVERAL ? 0 : number(through) + 1);
  }
  return Buffer.from(bytes);
}

function inOrder(floor: Floor): Floor {
  if (floor.length < 2) return floor;
  return floor.reduce<Floor>((sorted, seen) => mergeFloors(sorted, [seen]), NO_FLOOR);
}

function subjectBytes(subject: string): Buffer {
  const bytes = Buffer.from(subject, 'base64url');
  if (bytes.length !== SUBJECT_BYTES) throw new RangeError('a subject is a hash of 16 bytes');
  return bytes;
}

function putNumber(bytes: number[], value: number): void {
  let rest = value;
  // Division, because a timeline takes 34 bits with its marks, and shifts end at 32.
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  bytes.push(rest);
}

function putBig(bytes: number[], value: bigint): void {
  let rest = value;
  for (; rest > 0xffff_ffffn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  putNumber(bytes, Number(rest));
}

function put64(bytes: number[], value: bigint): void {
  const high = Number(value >> 32n);
  const low = Number(value & 0xffff_ffffn);
  for (const word of [high, low]) {
    bytes.push(word >>> 24, (word >>> 16) & 0xff, (word >>> 8) & 0xff, word & 0xff);
  }
}

/** Undefined for anything that `encode` does not write, whoever has signed it. */
function decode(body: Buffer): Session | undefined {
  const reader = new Reader(body);
  const shape = reader.number();
  const subject = shape % 2 === 1 ? reader.take(SUBJECT_BYTES).toString('base64url') : undefined;
  const epoch = reader.number();
  const names: string[] = [];
  const floors = new Map<string, Seen[]>();
  let systemId = 0n;
  for (let left = reader.number(); left > 0 && !reader.failed; left--) {
    const head = reader.number();
    const name = reader.take(Math.floor(head / 8)).toString('latin1');
    names.push(name);
    const floor: Seen[] = [];
    for (let positions = head % 8; positions > 0; positions--) {
      const mark = reader.number();
      if ((mark & 2) === 0) systemId = reader.take(8).readBigUInt64BE();
      const timeline = Math.floor(mark / 4);
      floor.push({ systemId, timeline, lsn: reader.big(), onReplica: (mark & 1) === 1 });
    }
    if (floor.length > 0) floors.set(name, floor);
  }
  const name = (number: number): string => {
    const found = names[number];
    if (found === undefined) reader.failed = true;
    return found ?? '';
  };
  const seenThrough = new Map<string, string>();
  for (let left = reader.number(); left > 0 && !reader.failed; left--) {
    const home = name(reader.number());
    const through = reader.number();
    seenThrough.set(home, through === 0 ? SEVERAL : name(through - 1));
  }
  const homeNumber = Math.floor(shape / 2);
  const home = homeNumber === 0 ? undefined : name(homeNumber - 1);
  if (!reader.isAtEnd()) return undefined;
  const session: Session = { subject, home, epoch, floors, seenThrough };
  // One spelling for each session: what is twice, out of order or too long comes back different.
  return encode(session).equals(body) ? session : undefined;
}

/**
 * Version 2, integers big-endian: key id 1 byte, subject 16 (zeros: none), home, epoch 4, positions
 * (region, system id 8, timeline 4 with its highest bit for a replica, lsn 8), copies in pairs. Text
 * and lists begin with their length in a byte.
 */
function decodeEarlier(body: Buffer): Session | undefined {
  const reader = new Reader(body);
  reader.take(1);
  const subject = reader.take(SUBJECT_BYTES);
  const text = () => reader.take(reader.byte()).toString('latin1');
  const home = text();
  const epoch = reader.take(4).readUInt32BE();
  const floors = new Map<string, Floor>();
  for (let left = reader.byte(); left > 0 && !reader.failed; left--) {
    const region = text();
    const systemId = reader.take(8).readBigUInt64BE();
    const mark = reader.take(4).readUInt32BE();
    const lsn = reader.take(8).readBigUInt64BE();
    const seen = { systemId, timeline: mark % 2 ** 31, lsn, onReplica: mark >= 2 ** 31 };
    floors.set(region, mergeFloors(floors.get(region) ?? NO_FLOOR, [seen]));
  }
  const seenThrough = new Map<string, string>();
  for (let left = reader.byte(); left > 0 && !reader.failed; left--) {
    const home = text();
    seenThrough.set(home, text());
  }
  if (!reader.isAtEnd()) return undefined;
  return {
    subject: subject.every((byte) => byte === 0) ? undefined : subject.toString('base64url'),
    home: home === '' ? undefined : home,
    epoch,
    floors,
    seenThrough,
  };
}

const ZEROS = Buffer.alloc(SUBJECT_BYTES);

/** Reads on past the end and remembers that it did, so that no shape of bytes throws. */
class Reader {
  failed = false;
  #bytes: Buffer;
  /** The version has been read. */
  #at = 1;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  isAtEnd(): boolean {
    return !this.failed && this.#at === this.#bytes.length;
  }

  byte(): number {
    const byte = this.#bytes[this.#at++];
    if (byte === undefined) this.failed = true;
    return byte ?? 0;
  }

  take(length: number): Buffer {
    const from = this.#at;
    this.#at += length;
    if (this.#at <= this.#bytes.length) return this.#bytes.subarray(from, this.#at);
    this.failed = true;
    return ZEROS;
  }

  number(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 0x80) {
      const byte = this.byte();
      value += (byte % 0x80) * scale;
      // Five bytes hold every number there is here.
      if (scale > 0x80 ** 4) this.failed = true;
      if (byte < 0x80 || this.failed) return value;
    }
  }

  big(): bigint {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.byte();
      value |= BigInt(byte % 0x80) << shift;
      if (value >> 64n > 0n) this.failed = true;
      if (byte < 0x80 || this.failed) return value;
    }
  }
}
