/**
 * Where does this subject live?
 *
 * Asked in order of cost: the memory of this edge, this region's copy of the directory, then every
 * peer at once. Only when all of them have said no is the subject unknown; a peer that did not
 * answer makes the answer unsure, which is a different thing. A subject is known here by a keyed
 * hash only.
 */
import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { RegionId } from '../regions/catalogue.ts';
import { NO_TRACE, type Trace } from './telemetry/telemetry.ts';

export type Entry = {
  home: RegionId;
  /** The subject's move count, from 1. */
  epoch: number;
};

export type Found =
  | { kind: 'found'; entry: Entry }
  | { kind: 'unknown' }
  | { kind: 'unsure'; silent: readonly RegionId[] };

export type DirectoryOptions = {
  key: Uint8Array;
  here: RegionId;
  peers: readonly RegionId[];
  /** Most subjects remembered; about 100 bytes each. */
  entriesMax: number;
  /** This region's copy, `undefined` for a key it does not hold. Rejects when it cannot be read. */
  lookUpHere: (key: string, budgetMs: number) => Promise<Entry | undefined>;
  /** One peer's own word on its own subjects. Rejects when it does not answer. */
  lookUpThere: (
    peer: RegionId,
    key: string,
    budgetMs: number,
    trace: Trace,
  ) => Promise<Entry | undefined>;
};

const KEY_BYTES = 16;

/** HMAC-SHA256 of the subject's id, first 128 bits. */
export function directoryKeyOf(key: KeyObject | Uint8Array, subject: string): Buffer {
  return createHmac('sha256', key).update(subject).digest().subarray(0, KEY_BYTES);
}

export class Directory {
  #options: DirectoryOptions;
  #key: KeyObject;
  #known: LRUCache<string, Entry>;
  /** One object for each home and epoch, however many subjects share it. */
  #entries = new Map<string, Entry>();
  #asking = new Map<string, Promise<Found>>();

  constructor(options: DirectoryOptions) {
    this.#options = options;
    this.#key = createSecretKey(options.key);
    this.#known = new LRUCache({ max: options.entriesMax });
  }

  /** The directory key of a subject as base64url (22 characters). */
  keyOf(subject: string): string {
    return directoryKeyOf(this.#key, subject).toString('base64url');
  }

  /** What memory alone says. */
  recall(key: string): Entry | undefined {
    return this.#known.get(key);
  }

  learn(key: string, home: RegionId, epoch: number): Entry {
    const name = `${home} ${epoch}`;
    let entry = this.#entries.get(name);
    if (entry === undefined) {
      entry = { home, epoch };
      this.#entries.set(name, entry);
    }
    this.#known.set(key, entry);
    return entry;
  }

  forget(key: string): void {
    this.#known.delete(key);
  }

  /** Requests for one key that arrive together are one question, in the trace of the first. */
  find(key: string, budgetMs: number, trace: Trace = NO_TRACE): Promise<Found> {
    const known = this.#known.get(key);
    if (known !== undefined) return Promise.resolve({ kind: 'found', entry: known });
    const asking = this.#asking.get(key);
    if (asking !== undefined) return asking;
    const asked = this.#ask(key, budgetMs, trace).finally(() => this.#asking.delete(key));
    this.#asking.set(key, asked);
    return asked;
  }

  async #ask(key: string, budgetMs: number, trace: Trace): Promise<Found> {
    const { here, peers, lookUpHere, lookUpThere } = this.#options;
    const silent: RegionId[] = [];
    const hear = async (region: RegionId, answer: Promise<Entry | undefined>) => {
      try {
        return await answer;
      } catch {
        silent.push(region);
        return undefined;
      }
    };
    const ours = await hear(here, lookUpHere(key, budgetMs));
    if (ours !== undefined) return this.#found(key, ours);
    const theirs = await firstDefined(
      peers.map((peer) => hear(peer, lookUpThere(peer, key, budgetMs, trace))),
    );
    if (theirs !== undefined) return this.#found(key, theirs);
    return silent.length > 0 ? { kind: 'unsure', silent } : { kind: 'unknown' };
  }

  #found(key: string, { home, epoch }: Entry): Found {
    return { kind: 'found', entry: this.learn(key, home, epoch) };
  }
}

/** The first answer that is not undefined, without waiting for the slower ones. */
function firstDefined<T>(answers: readonly Promise<T | undefined>[]): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    let pending = answers.length;
    if (pending === 0) resolve(undefined);
    for (const answer of answers) {
      answer.then((value) => {
        pending--;
        if (value !== undefined || pending === 0) resolve(value);
      }, reject);
    }
  });
}
