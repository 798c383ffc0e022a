/**
 * Who may use the console now?
 *
 * By the operators file as it was read last, and it is read again when it changes. One that says
 * nothing of use any more, or is gone, changes nothing: those whom it let in before stay in, and
 * that it is so is said until it is mended.
 */
import { formatComplaint } from '../../regions/yaml-complaint.ts';
import type { VerifyJwt } from './credentials.ts';
import { entryOf, type Operators, readOperators } from './operators-file.ts';

export type OperatorsText = { text: string } | { complaint: string };

/** As the start has found it. */
export type FirstOperators = {
  text: string;
  operators: Operators;
  /** For complaints. */
  file: string;
  read: () => Promise<OperatorsText>;
};

export type OperatorsInForceOptions = FirstOperators & {
  verifierOf: (operators: Operators) => Promise<VerifyJwt | undefined>;
  /** Milliseconds since the epoch. */
  wallClock: () => number;
  log: (line: Record<string, unknown>) => void;
  everyMs?: number;
};

/** Whoever revokes a token looks whether it helped: sooner than he can. */
export const READ_EVERY_MS = 500;

export class OperatorsInForce {
  #options: OperatorsInForceOptions;
  #operators: Operators;
  #entries: ReadonlySet<string>;
  #verifyJwt: VerifyJwt | undefined;
  /** What was judged last: a text, or a complaint that there is none. */
  #judged: string;
  #brokenSinceMs: number | undefined;
  #version = 1;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  #listeners: (() => void)[] = [];

  private constructor(options: OperatorsInForceOptions, verifyJwt: VerifyJwt | undefined) {
    this.#options = options;
    this.#operators = options.operators;
    this.#entries = entriesOf(options.operators);
    this.#judged = options.text;
    this.#verifyJwt = verifyJwt;
  }

  static async start(options: OperatorsInForceOptions): Promise<OperatorsInForce> {
    const inForce = new OperatorsInForce(options, await options.verifierOf(options.operators));
    inForce.#lookLater();
    return inForce;
  }

  get operators(): Operators {
    return this.#operators;
  }

  get verifyJwt(): VerifyJwt | undefined {
    return this.#verifyJwt;
  }

  /** Rises when others are in force than before. */
  get version(): number {
    return this.#version;
  }

  /** Whether the file still has the entry that let somebody in, as it was. */
  has(entry: string): boolean {
    return this.#entries.has(entry);
  }

  /** Since when the file is not one, in milliseconds since the epoch. */
  get brokenSinceMs(): number | undefined {
    return this.#brokenSinceMs;
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  /** Reads the file now. */
  async look(): Promise<void> {
    const { read, file, verifierOf, log } = this.#options;
    const found = await read();
    const judged = 'text' in found ? found.text : found.complaint;
    if (judged === this.#judged) return;
    this.#judged = judged;
    if ('complaint' in found) return this.#keep([found.complaint]);
    const reading = readOperators(found.text, file);
    if ('complaints' in reading) return this.#keep(reading.complaints.map(formatComplaint));
    // Keys that were fetched for an entry that is gone are of no use, and all of them are few.
    const verifyJwt = await verifierOf(reading.operators);
    this.#operators = reading.operators;
    this.#entries = entriesOf(reading.operators);
    this.#verifyJwt = verifyJwt;
    this.#brokenSinceMs = undefined;
    this.#version += 1;
    const { operators, issuers } = reading.operators;
    const count = { operators: operators.length, issuers: issuers.length };
    log({ level: 'info', event: 'console-operators-read', ...count });
    for (const listener of this.#listeners) listener();
  }

  #keep(complaints: readonly string[]): void {
    this.#brokenSinceMs ??= this.#options.wallClock();
    this.#options.log({ level: 'error', event: 'console-operators-unreadable', complaints });
  }

  #lookLater(): void {
    if (this.#stopped) return;
    const { everyMs = READ_EVERY_MS } = this.#options;
    const look = () => void this.look().finally(() => this.#lookLater());
    this.#timer = setTimeout(look, everyMs).unref();
  }
}

function entriesOf({ operators, issuers }: Operators): ReadonlySet<string> {
  return new Set([...operators, ...issuers].map(entryOf));
}
