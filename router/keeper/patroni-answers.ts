/**
 * What do the answers of a Patroni's REST interface mean?
 *
 * Read field by field, because there are several versions of it and because anything may stand at
 * the address instead. What is not understood is said, in words, and never thrown.
 */
import { z } from 'zod';
import type { Lsn } from '../../regions/position.ts';
import type { HttpAnswer } from './ask-http.ts';

export type PatroniRole =
  /** Holds the lock. */
  | 'leader'
  /** Commits wait for it, so it has all that was acknowledged. */
  | 'sync_standby'
  | 'replica'
  /** Leads a cluster that follows another cluster: no primary. */
  | 'standby_leader'
  | 'unknown';

export type PatroniMember = {
  name: string;
  role: PatroniRole;
  /** `running`, `streaming`, `stopped`, `start failed` and others, as Patroni says it. */
  state: string;
  timeline: number | undefined;
};

export type PatroniCluster = {
  leader: string | undefined;
  members: readonly PatroniMember[];
  /** Patroni does nothing by itself now. */
  isPaused: boolean;
};

/** A promotion that Patroni has written down. */
export type PatroniPromotion = {
  /** The timeline that ended, and where. */
  timeline: number;
  end: Lsn;
  reason: string;
  /** As Patroni wrote it, and who took over; the newest entry may lack both. */
  at: string | undefined;
  to: string | undefined;
};

export type Understood<T> = { ok: T } | { why: string };

/** Beyond this, words of somebody else do not fit into a sentence. */
const WORDS_MAX = 200;

const Member = z.looseObject({
  name: z.string(),
  role: z.string(),
  state: z.string().optional(),
  timeline: z.number().optional().catch(undefined),
});
const Cluster = z.looseObject({
  members: z.array(Member),
  pause: z.boolean().optional(),
});
const History = z.array(
  z
    .tuple([z.int().min(1), z.int().min(0), z.string()])
    .rest(z.union([z.string(), z.null()]).catch(null)),
);
const Status = z.looseObject({ database_system_identifier: z.string().regex(/^\d+$/) });
const Config = z.looseObject({});

const ROLES: Readonly<Record<string, PatroniRole>> = {
  leader: 'leader',
  // Before version 2.
  master: 'leader',
  sync_standby: 'sync_standby',
  // Version 4; any of them has what a quorum has.
  quorum_standby: 'replica',
  standby_leader: 'standby_leader',
  replica: 'replica',
};

/** `GET /cluster` */
export function readCluster(answer: HttpAnswer): Understood<PatroniCluster> {
  const read = understood(answer, Cluster);
  if ('why' in read) return read;
  const members = read.ok.members.map(
    ({ name, role, state = '', timeline }): PatroniMember => ({
      name,
      role: Object.hasOwn(ROLES, role) ? (ROLES[role] ?? 'unknown') : 'unknown',
      state,
      timeline,
    }),
  );
  const leaders = members.filter(({ role }) => role === 'leader');
  if (leaders.length > 1) {
    return { why: `it names several leaders: ${leaders.map(({ name }) => name).join(', ')}` };
  }
  return { ok: { leader: leaders[0]?.name, members, isPaused: read.ok.pause === true } };
}

/** `GET /history` */
export function readHistory(answer: HttpAnswer): Understood<PatroniPromotion[]> {
  const read = understood(answer, History);
  if ('why' in read) return read;
  const promotions = read.ok.map(([timeline, end, reason, at, to]) => ({
    timeline,
    end: BigInt(end),
    reason,
    at: at ?? undefined,
    to: to ?? undefined,
  }));
  return { ok: promotions };
}

/** `GET /patroni`: the cluster that the member belongs to. */
export function readSystemId(answer: HttpAnswer): Understood<bigint> {
  const read = understood(answer, Status);
  return 'why' in read ? read : { ok: BigInt(read.ok.database_system_identifier) };
}

/** `GET /config`: what all members share. */
export function readSettings(answer: HttpAnswer): Understood<Readonly<Record<string, unknown>>> {
  return understood(answer, Config);
}

/** What Patroni, or whoever answers in its place, said: one line, no markup. */
export function wordsOf(text: string): string {
  const plain = text
    .replaceAll(/<(style|head)[\s\S]*?<\/\1>/gi, ' ')
    .replaceAll(/<[^>]*>/g, ' ')
    .replaceAll(/\s+/g, ' ')
    .trim();
  return plain.length > WORDS_MAX ? `${plain.slice(0, WORDS_MAX)}…` : plain;
}

function understood<S extends z.ZodType>(answer: HttpAnswer, shape: S): Understood<z.infer<S>> {
  if (answer.kind === 'failed') return { why: answer.why };
  const { status, text } = answer;
  if (status !== 200) return { why: `${status} ${wordsOf(text)}`.trim() };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { why: `no JSON: ${wordsOf(text)}` };
  }
  const parsed = shape.safeParse(value);
  if (parsed.success) return { ok: parsed.data };
  const [issue] = parsed.error.issues;
  const where = issue?.path.join('.') ?? '';
  return { why: `not what Patroni answers${where === '' ? '' : `: ${where}`}` };
}
