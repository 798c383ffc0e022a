/**
 * Did this request come from one of our edges, unaltered and for the first time?
 *
 * An edge that sends a request on signs where it goes and everything that decides what it means.
 * No clock is involved, because an edge whose clock jumped must still be believed: each edge
 * process draws a name, counts its hops, and the receiver remembers which numbers it has seen.
 * What this does not do: hide the content (that is TLS between regions), or refuse a hop recorded
 * before the receiving process started.
 *
 * The sliding window over numbers is that of IPsec, RFC 4303 section 3.4.3.
 */
import { createHash, createHmac, type KeyObject, timingSafeEqual } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { RegionId } from '../regions/catalogue.ts';

export const HOP_HEADER = 'domicile-hop';

export type Hop = {
  from: RegionId;
  to: RegionId;
  /** Drawn at random by each sending process. */
  sender: string;
  /** Counts the sender's hops from 1. */
  number: number;
  /** What is left of the client's budget, in milliseconds. */
  budgetMs: number;
  /** Under which the sender decided; undefined for a question of the router's own. */
  policy: HopPolicy | undefined;
};

export type HopPolicy = {
  version: number;
  /** Whether the sender's region has it in force; else it only stands in the sender's file. */
  recorded: boolean;
};

export type HopContent = {
  method: string;
  /** Path with query, as it is sent. */
  target: string;
  /** The values of `SIGNED_FIELDS`, in their order. */
  fields: readonly (string | undefined)[];
  body: Uint8Array | undefined;
};

/**
 * The header fields that decide what a request means, to the receiving edge or by HTTP itself. Other
 * fields may be changed by what stands between two edges, and an app that decides by one of them
 * has to protect it.
 */
export const SIGNED_FIELDS = [
  'domicile-session',
  'cookie',
  'authorization',
  'idempotency-key',
  'if-match',
  'if-none-match',
  'if-modified-since',
  'if-unmodified-since',
  'domicile-consistency',
  'content-type',
  'content-encoding',
] as const;

export type HopVerdict = { kind: 'genuine'; hop: Hop } | { kind: 'refused'; why: string };

/** How far a hop may arrive out of order: more than the requests that are under way at once. */
const WINDOW = 4_096;
/** Senders are edge processes; a few thousand cover every restart of a long day. */
const SENDERS_MAX = 4_096;

/** Methods that change nothing (RFC 9110 section 9.2.1). A hop carries no body with them. */
export function isSafe(method: string): boolean {
  return method === 'GET' || method === 'HEAD' || method === 'OPTIONS';
}

export function signHop(hop: Hop, content: HopContent, key: KeyObject): string {
  const { from, to, sender, number, budgetMs, policy } = hop;
  const fields = `v3;${from};${to};${sender};${number};${budgetMs};${policyText(policy)}`;
  return `${fields};${mac(fields, content, key).toString('base64url')}`;
}

/** Who says to have sent it. Nothing is checked. */
export function senderOf(header: string): string | undefined {
  return header.split(';')[3];
}

export class HopGuard {
  #here: RegionId;
  #key: KeyObject;
  #seen = new LRUCache<string, ReplayWindow>({ max: SENDERS_MAX });

  constructor(here: RegionId, key: KeyObject) {
    this.#here = here;
    this.#key = key;
  }

  check(header: string, content: HopContent): HopVerdict {
    const [version, from, to, sender, number, budgetMs, policy, tag, ...rest] = header.split(';');
    if (version !== 'v3' || tag === undefined || rest.length > 0)
      return refused('not a hop of version 3');
    const fields = header.slice(0, header.length - tag.length - 1);
    const claimed = Buffer.from(tag, 'base64url');
    const expected = mac(fields, content, this.#key);
    if (claimed.length !== expected.length || !timingSafeEqual(claimed, expected)) {
      return refused('the signature does not fit the request');
    }
    // Signed by one of us, so the fields are well formed from here on.
    if (to !== this.#here) return refused(`signed for "${to}", received in "${this.#here}"`);
    const hop: Hop = {
      from: from ?? '',
      to,
      sender: sender ?? '',
      number: Number(number),
      budgetMs: Number(budgetMs),
      policy: policyFrom(policy ?? ''),
    };
    let window = this.#seen.get(hop.sender);
    if (window === undefined) {
      window = new ReplayWindow();
      this.#seen.set(hop.sender, window);
    }
    return window.admit(hop.number) ? { kind: 'genuine', hop } : refused('received before');
  }
}

/** Which of the last numbers of one sender have been seen. */
class ReplayWindow {
  #highest = 0;
  #seen = new Uint8Array(WINDOW);

  admit(number: number): boolean {
    if (number <= this.#highest - WINDOW) return false;
    if (number > this.#highest) {
      const from = Math.max(this.#highest + 1, number - WINDOW + 1);
      for (let n = from; n < number; n++) this.#seen[n % WINDOW] = 0;
      this.#highest = number;
    } else if (this.#seen[number % WINDOW] === 1) {
      return false;
    }
    this.#seen[number % WINDOW] = 1;
    return true;
  }
}

/** `3`, `file-3`, or `-`. */
function policyText(policy: HopPolicy | undefined): string {
  if (policy === undefined) return '-';
  return policy.recorded ? String(policy.version) : `file-${policy.version}`;
}

function policyFrom(text: string): HopPolicy | undefined {
  if (text === '-') return undefined;
  const recorded = !text.startsWith('file-');
  return { version: Number(recorded ? text : text.slice('file-'.length)), recorded };
}

function refused(why: string): HopVerdict {
  return { kind: 'refused', why };
}

function mac(fields: string, content: HopContent, key: KeyObject): Buffer {
  const body = createHash('sha256')
    .update(content.body ?? '')
    .digest('base64url');
  // JSON keeps the parts apart whatever they contain.
  const parts = [
    fields,
    content.method,
    content.target,
    SIGNED_FIELDS.map((_, i) => content.fields[i] ?? null),
    body,
  ];
  return createHmac('sha256', key).update(JSON.stringify(parts)).digest();
}
