/**
 * Is the chain of a region's receipts whole?
 *
 * Reads receipts and seals in batches, computes every hash here and not in the database that is
 * being doubted, and compares the chain with the heads that regions remember. What it finds is
 * named by receipt and seal. It only reads, and the chain may grow meanwhile.
 *
 * The bytes that are hashed are those of `regions/schema/0004-receipts.sql`.
 */
import { createHash } from 'node:crypto';
import type { RegionId } from '../regions/catalogue.ts';
import type { Sql } from '../regions/postgres.ts';

/** Runs statements on one node of one region, as somebody who may read everything. */
export type Ask = <T>(query: (sql: Sql) => Promise<T>) => Promise<T>;

export type ChainToCheck = {
  /** Whose receipts. */
  region: RegionId;
  /** A node of that region's private cluster. */
  home: Ask;
  /** A private node of each other region that shall be asked what it remembers. */
  witnesses: ReadonlyMap<RegionId, Ask>;
  /** The policy's `receipts.retention`: nothing younger may be gone. */
  retentionMs: number;
  /** How long a receipt may stay without a seal. */
  unsealedMsMax?: number;
};

export type ReceiptFinding =
  /** The receipt does not say what was sealed. */
  | { kind: 'receipt-altered'; receipt: string; seal: string }
  /** It says what was sealed of another receipt of the same seal. */
  | { kind: 'receipt-reordered'; receipt: string; seal: string }
  | { kind: 'receipt-missing'; receipt: string; seal: string }
  /** It is there, no seal covers it, and it is not waiting for one. */
  | { kind: 'receipt-inserted'; receipt: string }
  | { kind: 'receipt-sealed-twice'; receipt: string; seal: string }
  | { kind: 'receipt-unsealed'; receipt: string; forMs: number }
  /** The seal's own hash is not that of what it holds. */
  | { kind: 'seal-altered'; seal: string }
  /** It does not continue the seal before it. */
  | { kind: 'chain-broken'; seal: string }
  | { kind: 'seal-missing'; seal: string; upTo: string }
  /** A region remembers a longer chain. */
  | { kind: 'tail-cut'; witness: RegionId; remembered: string; head: string | undefined }
  /** A region remembers another hash for this seal. */
  | { kind: 'head-forked'; witness: RegionId; seal: string }
  /** The chain begins after a seal that retention had not let go yet. */
  | { kind: 'forgotten-too-early'; witness: RegionId; seal: string };

export type ChainReport = {
  region: RegionId;
  receipts: number;
  seals: number;
  /** The newest seal; undefined when there is none. */
  head: { seal: string; hash: string } | undefined;
  /** The seal after which the chain begins; undefined when nothing was let go. */
  beginsAfter: string | undefined;
  /** Regions whose memory was compared, and how many heads each of them had. */
  witnesses: readonly { region: RegionId; heads: number }[];
  /** Regions that could not be asked: a cut tail that only they know of is not found. */
  silent: readonly RegionId[];
  /** The first ones; the number of all is beside it. */
  findings: readonly ReceiptFinding[];
  findingsTotal: number;
};

/** Edges seal once a second. A minute of none means that sealing does not work. */
export const UNSEALED_MS_MAX = 60_000;
/** Enough to see what happened. An attacker must not be able to fill the auditor's memory. */
const FINDINGS_MAX = 1_000;
const SEALS_A_BATCH = 20;
const RECEIPTS_A_BATCH = 5_000;
const HEADS_A_BATCH = 10_000;
/** Receipts without a seal that are followed up. An honest edge makes a thousand a second at most. */
const LOOSE_MAX = 100_000;
/** Clocks of two regions, and the ten minutes between two looks for what is old. */
const RETENTION_SLACK_MS = 3_600_000;

/** Rejects when the home cannot be read. */
export async function checkReceiptChain(wanted: ChainToCheck): Promise<ChainReport> {
  // Witnesses first: whatever they remember now must be in what is read after them.
  const memories: Memory[] = [];
  const silent: RegionId[] = [];
  for (const [region, ask] of [[wanted.region, wanted.home] as const, ...wanted.witnesses]) {
    try {
      memories.push({ region, heads: await headsSeen(ask, wanted.region) });
    } catch (error) {
      // What home remembers of itself is read where the chain is; without that there is no check.
      if (region === wanted.region) throw error;
      silent.push(region);
    }
  }
  const check = new ChainCheck(wanted, memories);
  await check.run();
  return check.report(silent);
}

type Head = { seq: bigint; hash: Buffer; atMs: number };
type Memory = { region: RegionId; heads: readonly Head[] };
type SealRow = {
  seq: string;
  at_us: string;
  ids: string[];
  digests: Buffer;
  previous: Buffer;
  hash: Buffer;
};
export type ReceiptRow = {
  id: string;
  at_us: string;
  kind: string;
  times: number;
  subject: Buffer | null;
  policy: number;
  rule: string | null;
  jurisdiction: string | null;
  from_region: string | null;
  to_region: string | null;
  reason: string | null;
  route: string | null;
  edge: string;
};

const GENESIS = Buffer.alloc(32);

class ChainCheck {
  #wanted: ChainToCheck;
  /** What each region remembers, by seal. */
  #remembered = new Map<bigint, { witness: RegionId; hash: Buffer }[]>();
  #memories: readonly Memory[];
  #findings: { about: bigint | undefined; finding: ReceiptFinding }[] = [];
  #findingsTotal = 0;
  #sealed = new IdSet();
  #receipts = 0;
  #seals = 0;
  #head: { seq: bigint; hash: Buffer } = { seq: 0n, hash: GENESIS };
  #begin: bigint | undefined;

  constructor(wanted: ChainToCheck, memories: readonly Memory[]) {
    this.#wanted = wanted;
    this.#memories = memories;
    for (const { region, heads } of memories) {
      for (const { seq, hash } of heads) {
        const known = this.#remembered.get(seq) ?? [];
        known.push({ witness: region, hash });
        this.#remembered.set(seq, known);
      }
    }
  }

  async run(): Promise<void> {
    const checkpoint = await this.#checkpoint();
    if (checkpoint !== undefined) {
      this.#head = checkpoint;
      this.#begin = checkpoint.seq;
      this.#compareWithMemory(checkpoint.seq, checkpoint.hash);
    }
    await this.#readSeals();
    // Receipts that no seal covers so far; then who waits; then the seals that came meanwhile. A
    // receipt that is in none of the three is in no order that an honest chain can have.
    const loose = await this.#looseReceipts();
    const due = await this.#due(loose);
    await this.#readSeals();
    for (const [id, forMs] of loose) {
      if (this.#sealed.has(BigInt(id))) continue;
      if (!due.has(id)) this.#say(undefined, { kind: 'receipt-inserted', receipt: id });
      else if (forMs > (this.#wanted.unsealedMsMax ?? UNSEALED_MS_MAX)) {
        this.#say(undefined, { kind: 'receipt-unsealed', receipt: id, forMs: Math.round(forMs) });
      }
    }
    this.#compareEnds();
    await this.#forgiveForgotten();
  }

  report(silent: readonly RegionId[]): ChainReport {
    const { seq, hash } = this.#head;
    return {
      region: this.#wanted.region,
      receipts: this.#receipts,
      seals: this.#seals,
      head: seq === 0n ? undefined : { seal: String(seq), hash: hash.toString('hex') },
      beginsAfter: this.#begin === undefined ? undefined : String(this.#begin),
      witnesses: this.#memories.map(({ region, heads }) => ({ region, heads: heads.length })),
      silent,
      findings: this.#findings.map(({ finding }) => finding),
      findingsTotal: this.#findingsTotal,
    };
  }

  /** Reads on from the last seal that was read. */
  async #readSeals(): Promise<void> {
    for (;;) {
      const after = String(this.#head.seq);
      const seals = await this.#wanted.home(
        (sql) => sql<SealRow[]>`
          select seq::text, ids, digests, previous, hash,
            case when isfinite(at) then (extract(epoch from at) * 1000000)::bigint::text
              else at::text end as at_us
          from domicile.receipt_seals s where s.seq > ${after}::bigint
          order by s.seq limit ${SEALS_A_BATCH}`,
      );
      for (const seal of seals) await this.#checkSeal(seal);
      if (seals.length < SEALS_A_BATCH) return;
    }
  }

  async #checkSeal(seal: SealRow): Promise<void> {
    const seq = BigInt(seal.seq);
    this.#seals++;
    if (seq !== this.#head.seq + 1n) {
      const from = this.#head.seq + 1n;
      this.#say(seq - 1n, { kind: 'seal-missing', seal: String(from), upTo: String(seq - 1n) });
    } else if (!seal.previous.equals(this.#head.hash)) {
      this.#say(seq, { kind: 'chain-broken', seal: seal.seq });
    }
    if (!sealHash(this.#wanted.region, seal).equals(seal.hash)) {
      this.#say(seq, { kind: 'seal-altered', seal: seal.seq });
    }
    this.#compareWithMemory(seq, seal.hash);
    this.#head = { seq, hash: seal.hash };
    await this.#checkReceipts(seq, seal);
  }

  async #checkReceipts(seq: bigint, { seq: name, ids, digests }: SealRow): Promise<void> {
    const found = await this.#wanted.home(
      (sql) => sql<ReceiptRow[]>`
        select id::text, kind, times, subject, policy, rule, jurisdiction, from_region, to_region,
          reason, route, edge,
          case when isfinite(at) then (extract(epoch from at) * 1000000)::bigint::text
            else at::text end as at_us
        from domicile.receipts where id = any(${ids}::bigint[])`,
    );
    this.#receipts += found.length;
    const rows = new Map(found.map((row) => [row.id, receiptDigest(row).toString('hex')]));
    const sealed = ids.map((_, at) => digests.subarray(32 * at, 32 * at + 32).toString('hex'));
    const known = new Set(sealed);
    ids.forEach((id, at) => {
      if (!this.#sealed.add(BigInt(id))) {
        this.#say(seq, { kind: 'receipt-sealed-twice', receipt: id, seal: name });
      }
      const digest = rows.get(id);
      if (digest === sealed[at]) return;
      const kind =
        digest === undefined
          ? 'receipt-missing'
          : known.has(digest)
            ? 'receipt-reordered'
            : 'receipt-altered';
      this.#say(seq, { kind, receipt: id, seal: name });
    });
  }

  /** Receipts that no seal covers, with their age. */
  async #looseReceipts(): Promise<Map<string, number>> {
    const loose = new Map<string, number>();
    for (let after = '-9223372036854775808'; ; ) {
      const rows = await this.#wanted.home(
        (sql) => sql<{ id: string; for_ms: number }[]>`
          select id::text,
            extract(epoch from clock_timestamp() - at)::float8 * 1000 as for_ms
          from domicile.receipts r where r.id > ${after}::bigint
          order by r.id limit ${RECEIPTS_A_BATCH}`,
      );
      for (const { id, for_ms } of rows) {
        // Past the limit only the number matters, and the first ones tell the story.
        if (!this.#sealed.has(BigInt(id)) && loose.size < LOOSE_MAX) loose.set(id, for_ms);
      }
      const last = rows.at(-1);
      if (last === undefined || rows.length < RECEIPTS_A_BATCH) return loose;
      after = last.id;
    }
  }

  async #due(loose: ReadonlyMap<string, number>): Promise<Set<string>> {
    const due = new Set<string>();
    const ids = [...loose.keys()];
    for (let from = 0; from < ids.length; from += RECEIPTS_A_BATCH) {
      const some = ids.slice(from, from + RECEIPTS_A_BATCH);
      const rows = await this.#wanted.home(
        (sql) => sql<{ id: string }[]>`
          select id::text from domicile.receipts_due where id = any(${some}::bigint[])`,
      );
      for (const { id } of rows) due.add(id);
    }
    return due;
  }

  #compareWithMemory(seq: bigint, hash: Buffer): void {
    for (const remembered of this.#remembered.get(seq) ?? []) {
      if (remembered.hash.equals(hash)) continue;
      const { witness } = remembered;
      this.#say(seq, { kind: 'head-forked', witness, seal: String(seq) });
    }
  }

  #compareEnds(): void {
    const { seq: end } = this.#head;
    for (const { region: witness, heads } of this.#memories) {
      const longest = heads.at(-1);
      if (longest !== undefined && longest.seq > end) {
        const head = end === 0n ? undefined : String(end);
        const remembered = String(longest.seq);
        this.#say(undefined, { kind: 'tail-cut', witness, remembered, head });
      }
    }
  }

  /** What retention let go of while we read is no finding; what it had to keep is one. */
  async #forgiveForgotten(): Promise<void> {
    const checkpoint = await this.#checkpoint();
    if (checkpoint === undefined) return;
    const { seq: begin, nowMs } = checkpoint;
    if (begin !== (this.#begin ?? 0n)) {
      const before = this.#findings.length;
      this.#findings = this.#findings.filter(
        ({ about, finding }) =>
          about === undefined || about > begin || finding.kind === 'head-forked',
      );
      this.#findingsTotal -= before - this.#findings.length;
      this.#begin = begin;
    }
    const keptMs = this.#wanted.retentionMs - RETENTION_SLACK_MS;
    for (const { region: witness, heads } of this.#memories) {
      const early = heads.findLast(({ seq, atMs }) => seq <= begin && nowMs - atMs < keptMs);
      if (early === undefined) continue;
      this.#say(begin, { kind: 'forgotten-too-early', witness, seal: String(early.seq) });
    }
  }

  async #checkpoint(): Promise<{ seq: bigint; hash: Buffer; nowMs: number } | undefined> {
    const [row] = await this.#wanted.home(
      (sql) => sql<{ seq: string; hash: Buffer; now_ms: number }[]>`
        select seq::text, hash, extract(epoch from clock_timestamp())::float8 * 1000 as now_ms
        from domicile.receipt_checkpoints c order by c.seq desc limit 1`,
    );
    return row && { seq: BigInt(row.seq), hash: row.hash, nowMs: row.now_ms };
  }

  /** `about`: the seal without which there would be nothing to find. */
  #say(about: bigint | undefined, finding: ReceiptFinding): void {
    this.#findingsTotal++;
    if (this.#findings.length < FINDINGS_MAX) this.#findings.push({ about, finding });
  }
}

/** Every head that a region was shown of `of`, by seal. Thinned out, so a year is some thousands. */
async function headsSeen(ask: Ask, of: RegionId): Promise<Head[]> {
  const heads: Head[] = [];
  for (;;) {
    const last = heads.at(-1);
    const rows = await ask(
      (sql) => sql<{ seq: string; hash: Buffer; at_ms: number }[]>`
        select seq::text, hash, extract(epoch from at)::float8 * 1000 as at_ms
        from domicile.anchors_seen a
        where a.region = ${of} and (a.seq, a.hash) > (${String(last?.seq ?? -1n)}::bigint, ${last?.hash ?? GENESIS})
        order by a.seq, a.hash limit ${HEADS_A_BATCH}`,
    );
    for (const { seq, hash, at_ms } of rows) heads.push({ seq: BigInt(seq), hash, atMs: at_ms });
    if (rows.length < HEADS_A_BATCH) return heads;
  }
}

/** What a receipt says, its id aside. */
export function receiptBytes(row: Omit<ReceiptRow, 'id'>): Buffer {
  return Buffer.concat([
    part('domicile receipt'),
    part(row.at_us),
    part(row.kind),
    part(String(row.times)),
    part(row.subject),
    part(String(row.policy)),
    part(row.rule),
    part(row.jurisdiction),
    part(row.from_region),
    part(row.to_region),
    part(row.reason),
    part(row.route),
    part(row.edge),
  ]);
}

export function receiptDigest(row: Omit<ReceiptRow, 'id'>): Buffer {
  return createHash('sha256').update(receiptBytes(row)).digest();
}

export function sealHash(region: RegionId, seal: Omit<SealRow, 'hash'>): Buffer {
  const { seq, previous, at_us, ids, digests } = seal;
  const hash = createHash('sha256')
    .update(part('domicile seal'))
    .update(part(region))
    .update(part(seq))
    .update(part(previous))
    .update(part(at_us))
    .update(part(String(ids.length)));
  const id = Buffer.alloc(8);
  ids.forEach((text, at) => {
    id.writeBigInt64BE(BigInt(text));
    hash.update(id).update(digests.subarray(32 * at, 32 * at + 32));
  });
  return hash.digest();
}

/** Absent, or its length and its bytes, so that no two lists of parts have the same bytes. */
function part(value: string | Buffer | null): Buffer {
  if (value === null) return Buffer.of(0);
  const bytes = typeof value === 'string' ? Buffer.from(value) : value;
  const head = Buffer.alloc(5);
  head[0] = 1;
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

const CHUNK_BITS = 12n;
const CHUNK = 1n << CHUNK_BITS;

/** Ids come almost without gaps: a bit for each, so a million take an eighth of a megabyte. */
class IdSet {
  #chunks = new Map<bigint, Uint8Array>();

  /** False when it is in the set already. */
  add(id: bigint): boolean {
    const [chunk, byte, bit] = place(id);
    let bits = this.#chunks.get(chunk);
    if (bits === undefined) {
      bits = new Uint8Array(Number(CHUNK) / 8);
      this.#chunks.set(chunk, bits);
    }
    const before = bits[byte] ?? 0;
    bits[byte] = before | bit;
    return (before & bit) === 0;
  }

  has(id: bigint): boolean {
    const [chunk, byte, bit] = place(id);
    return ((this.#chunks.get(chunk)?.[byte] ?? 0) & bit) !== 0;
  }
}

function place(id: bigint): [chunk: bigint, byte: number, bit: number] {
  const at = Number(id & (CHUNK - 1n));
  return [id >> CHUNK_BITS, at >> 3, 1 << (at & 7)];
}
