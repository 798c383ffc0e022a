/**
 * How does a decision come to leave a receipt, and who seals it?
 *
 * A newcomer's receipt is written by the transaction that settles them (`edge.ts`). Everything else
 * is collected here and written once a second, so that no request waits for it or fails because of
 * it; what does not fit is counted, and the count leaves a receipt. Each edge also asks its primary
 * once a second to seal what is due. `receipt-chain.ts` checks the result.
 */
import type { Policy } from '../policies/policy.ts';
import type { ReceiptKind } from '../policies/policy-file.ts';
import type { RegionId } from '../regions/catalogue.ts';
import { DatabaseError, type Sql } from '../regions/postgres.ts';
import type { Failure } from './problem.ts';

/** Placements are not among them: they are left by `domicile.leave_placement`. */
export type Receipt = {
  kind: Exclude<ReceiptKind, 'place'>;
  /** The directory key, as the directory writes it. */
  subject?: string | undefined;
  rule?: string | undefined;
  jurisdiction?: string | undefined;
  /** The region whose edge sent the request on. */
  from?: RegionId | undefined;
  to?: RegionId | undefined;
  /** A failure's kind, or another word of the code. */
  reason?: string | undefined;
  /** The pattern of the route, as the app registered it. */
  route?: string | undefined;
};

export type ReceiptsOptions = {
  /** Runs a statement on the region's primary, as the router. */
  onPrimary: <T>(query: (sql: Sql) => Promise<T>, timeoutMs: number) => Promise<T>;
  /** The policy in force now. */
  policy: () => Policy;
  /** The edge's name in the catalogue. */
  edge: string;
  /** A UUID of this process that no other ever has. */
  sender: string;
  /** Monotonic milliseconds. */
  now: () => number;
};

/** Different receipts that wait at most; about 300 kB. Equal ones are one with a number. */
export const WAITING_MAX = 1_000;
export const FLUSH_EVERY_MS = 1_000;
/** A commit that waits for its standby is asked about again a second later. */
const FLUSH_MS_MAX = 1_000;
/** A seal of these is about 40 kB and takes some ten milliseconds. */
const SEALED_AT_ONCE_MAX = 1_000;
/** Under a flood one edge seals at most this many seals a turn; the others seal as well. */
const SEALS_A_TURN_MAX = 20;
/** Turns between two looks for what retention lets go: ten minutes. */
const TIDY_EVERY_TURNS = 600;
const TIDY_MS_MAX = 8_000;

type Waiting = { receipt: Receipt; policy: number; times: number; sinceMs: number };
type Batch = { number: number; receipts: readonly object[]; sinceMs: number; times: number };

export class Receipts {
  #options: ReceiptsOptions;
  #waiting = new Map<string, Waiting>();
  #dropped = { times: 0, sinceMs: 0 };
  /** Sent, and perhaps taken: it is sent again as it is until that is known. */
  #batch: Batch | undefined;
  #batches = 0;
  #turns = 0;
  #timer: NodeJS.Timeout | undefined;
  #turn: Promise<void> | undefined;
  #stopped = false;

  constructor(options: ReceiptsOptions) {
    this.#options = options;
  }

  /** Of a decision under this policy, if it keeps such. Takes no time and cannot fail. */
  leave({ version: policy, receipts }: Policy, receipt: Receipt): void {
    if (!receipts.keep.includes(receipt.kind)) return;
    const key = JSON.stringify([policy, ...FIELDS.map((field) => receipt[field] ?? null)]);
    const known = this.#waiting.get(key);
    if (known !== undefined) known.times++;
    else if (this.#waiting.size < WAITING_MAX) {
      this.#waiting.set(key, { receipt, policy, times: 1, sinceMs: this.#options.now() });
    } else this.#drop(1);
  }

  start(): void {
    this.#again();
  }

  /** Writes what is still waiting, if the primary takes it at once. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#turn;
    await this.flush();
    await this.flush();
  }

  /** Sends one batch. Never rejects: what could not be sent is sent the next time. */
  async flush(): Promise<void> {
    const { onPrimary, edge, sender, now } = this.#options;
    this.#batch ??= this.#nextBatch();
    const batch = this.#batch;
    if (batch === undefined) return;
    const waitedMs = now() - batch.sinceMs;
    const receipts = batch.receipts.map((receipt) => ({
      ...receipt,
      ageMs: Math.round((receipt as { ageMs: number }).ageMs + waitedMs),
    }));
    try {
      await onPrimary(
        (sql) => sql`
          select domicile.leave_receipts(
            ${sender}::uuid, ${batch.number}, ${edge}, ${JSON.stringify(receipts)}::text::jsonb)`,
        FLUSH_MS_MAX,
      );
      this.#batch = undefined;
    } catch (error) {
      if (!isRefusedForGood(error)) return;
      // It would be refused for ever and hold up all others.
      this.#batch = undefined;
      this.#drop(batch.times);
    }
  }

  #again(): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => {
      this.#turn = this.#takeTurn().finally(() => this.#again());
    }, FLUSH_EVERY_MS);
  }

  async #takeTurn(): Promise<void> {
    await this.flush();
    await this.#seal().catch(ignore);
    if (this.#turns++ % TIDY_EVERY_TURNS === TIDY_EVERY_TURNS - 1) await this.#tidy().catch(ignore);
  }

  async #seal(): Promise<void> {
    for (let i = 0; i < SEALS_A_TURN_MAX && !this.#stopped; i++) {
      const sealed = await this.#options.onPrimary(async (sql) => {
        const [row] = await sql<{ sealed: number }[]>`
          select domicile.seal_receipts(${SEALED_AT_ONCE_MAX}) as sealed`;
        return row?.sealed ?? 0;
      }, FLUSH_MS_MAX);
      if (sealed < SEALED_AT_ONCE_MAX) return;
    }
  }

  async #tidy(): Promise<void> {
    const { onPrimary, policy } = this.#options;
    const { retentionMs } = policy().receipts;
    await onPrimary((sql) => sql`select domicile.thin_anchors()`, TIDY_MS_MAX);
    await onPrimary((sql) => sql`select domicile.forget_receipts(${retentionMs})`, TIDY_MS_MAX);
  }

  #nextBatch(): Batch | undefined {
    const { now, policy } = this.#options;
    const sinceMs = now();
    const age = (from: number) => sinceMs - from;
    let times = 0;
    const receipts: object[] = [];
    for (const { receipt, policy, times: often, sinceMs: from } of this.#waiting.values()) {
      times += often;
      receipts.push({
        ...receipt,
        subject: receipt.subject && Buffer.from(receipt.subject, 'base64url').toString('hex'),
        policy,
        times: often,
        ageMs: age(from),
      });
    }
    const dropped = this.#dropped;
    if (dropped.times > 0) {
      times += dropped.times;
      receipts.push({
        kind: 'dropped',
        policy: policy().version,
        times: dropped.times,
        reason: 'too-many-at-once',
        ageMs: age(dropped.sinceMs),
      });
    }
    if (receipts.length === 0) return undefined;
    this.#waiting = new Map();
    this.#dropped = { times: 0, sinceMs: 0 };
    return { number: ++this.#batches, receipts, sinceMs, times };
  }

  #drop(times: number): void {
    if (this.#dropped.times === 0) this.#dropped.sinceMs = this.#options.now();
    this.#dropped.times += times;
  }
}

const FIELDS = [
  'kind',
  'subject',
  'rule',
  'jurisdiction',
  'from',
  'to',
  'reason',
  'route',
] as const satisfies readonly (keyof Receipt)[];

/**
 * Refusals that are about where data may be. All others are about the request itself, and a receipt
 * of each of those would be an access log.
 */
const ABOUT_RESIDENCY: ReadonlySet<Failure['kind']> = new Set([
  'unknown-country',
  'placement-refused',
  'home-not-yours-to-choose',
  'residency-unavailable',
  'home-unknown',
  'region-unavailable',
  'misdirected',
  'transit-refused',
  'undeclared-in-policy',
]);

export function isAboutResidency({ kind }: Failure): boolean {
  return ABOUT_RESIDENCY.has(kind);
}

/** A route pattern as a receipt may hold it. */
export function routeForReceipt(pattern: string | undefined): string | undefined {
  return pattern !== undefined && /^\/[!-~]{0,199}$/.test(pattern) ? pattern : undefined;
}

/** The values do not fit, so they never will. */
function isRefusedForGood(error: unknown): boolean {
  if (!(error instanceof DatabaseError)) return false;
  const { failure } = error;
  return (
    failure.kind === 'unencodable' ||
    (failure.kind === 'rejected' && /^2[23]/.test(failure.sqlstate))
  );
}

function ignore(): void {}
