/**
 * What does a keeper have to remember, and which changes of that memory are lawful?
 *
 * One record, of which each version is written once and before anything is done. It says who the
 * primary is and whose acknowledgement its commits wait for, and these two belong together: a
 * standby may only become the primary while commits wait for it, so "go on alone" and "promote the
 * standby" are two successors of one version, and only one of them can be written.
 *
 * At any time the servers are at least as strict as the record. Where the record becomes more
 * lenient (going on alone, one more standby that may confirm) it is written first and the server
 * told afterwards; where it becomes stricter the server is told first, and shown to obey.
 */
import type { RegionId, SiteId } from '../../regions/catalogue.ts';
import type { Commits } from '../policy.ts';

export type KeeperRecord = {
  /** Grows by one. */
  version: number;
  region: RegionId;
  /** Of the cluster, decimal: JSON knows no 64-bit integers. */
  systemId: string;
  /** Who takes writes, or will when what is pending is done. */
  primary: string;
  /** The timeline that the primary writes; while a promotion is pending, the one that it ends. */
  timeline: number;
  /** One of these has each commit before it is acknowledged. None: the primary runs alone. */
  standbys: readonly string[];
  commits: Commits;
  pending: Pending | null;
  /** Who was the primary before, until it has become a standby. */
  former: Former | null;
  /** Other nodes that may hold what the primary lacks, until they stream from it. */
  mayHoldMore?: readonly string[];
  /**
   * The primary before may have confirmed to the peers what is lost with it, and they do not send it
   * again: the mirrors here begin anew, and until that is prepared this is true.
   */
  feedsAreUnsure?: boolean;
  event: KeeperEvent;
  /** Which keeper wrote it, and when by its machine's clock (ISO 8601), for people. */
  by: string;
  at: string;
};

export type Former = {
  node: string;
  /** It ended gently and its successor has all that it wrote, so it can go on from its own files. */
  isClean: boolean;
  /** It may hold what its successor lacks, so its data is kept when it is copied over. */
  keepData: boolean;
};

export type Pending =
  /** `primary` is to be promoted; `deposed` was the primary before. */
  | { kind: 'promotion'; deposed: string }
  /** The primary is to hand over to this standby, both being well. */
  | { kind: 'switchover'; to: string }
  /** One of these is to be the only one that commits wait for, so that it can take over. */
  | { kind: 'move'; to: readonly string[] };

/** What made this version, with the reason in words for those who read the history. */
export type KeeperEvent =
  | { kind: 'founded' }
  | { kind: 'alone'; because: string }
  | { kind: 'admitted'; node: string }
  | { kind: 'dismissed'; node: string; because: string }
  | { kind: 'deposed'; node: string; because: string; loss?: AcceptedLoss }
  | { kind: 'promoted'; node: string }
  | { kind: 'switchover'; to: string; by: string }
  | { kind: 'move'; to: readonly string[]; by: string; site?: SiteId }
  | { kind: 'rejoined'; node: string }
  /** The places at these peers are taken away; an operator fills the mirrors again. */
  | { kind: 'feeds_ended'; peers: readonly RegionId[] }
  | { kind: 'called_off'; because: string }
  | { kind: 'commits'; mode: Commits };

/** An operator answers for what a promotion may lose. */
export type AcceptedLoss = { by: string; why: string };

export type Signature = Pick<KeeperRecord, 'by' | 'at'>;

export type RecordChange = Partial<
  Pick<
    KeeperRecord,
    | 'primary'
    | 'timeline'
    | 'standbys'
    | 'commits'
    | 'pending'
    | 'former'
    | 'mayHoldMore'
    | 'feedsAreUnsure'
  >
> & { event: KeeperEvent };

/** The version after `record`. A former primary is forgotten when it is a standby like any other. */
export function succeed(
  record: KeeperRecord,
  change: RecordChange,
  signature: Signature,
): KeeperRecord {
  const { event } = change;
  const isBack = event.kind === 'admitted' && event.node === record.former?.node;
  return {
    ...record,
    ...change,
    ...(isBack && { former: null }),
    ...signature,
    version: record.version + 1,
  };
}

/** Whether this primary's commits are on one machine only, although the policy wants two. */
export function isAlone({ standbys, commits }: KeeperRecord): boolean {
  return standbys.length === 0 && commits !== 'asynchronous';
}

/** Reads what a record file holds. Undefined when it is no record: a file of ours always is one. */
export function readRecord(value: unknown): KeeperRecord | undefined {
  const record = value as Partial<KeeperRecord> | null;
  const isRecord =
    typeof record === 'object' &&
    record !== null &&
    typeof record.version === 'number' &&
    typeof record.region === 'string' &&
    typeof record.systemId === 'string' &&
    /^\d+$/.test(record.systemId) &&
    typeof record.primary === 'string' &&
    typeof record.timeline === 'number' &&
    Array.isArray(record.standbys) &&
    ['synchronous', 'quorum', 'asynchronous'].includes(record.commits ?? '') &&
    record.pending !== undefined &&
    record.former !== undefined &&
    record.event !== undefined;
  return isRecord ? (record as KeeperRecord) : undefined;
}
