/**
 * Where is this subject at home, and why?
 *
 * Asked by directory key, or by the hash that telemetry shows: neither can be made from a name
 * without the key of the directory. What the directory does not say the policy does: which rules
 * lead to that home, and what of it may be elsewhere.
 */
import * as z from 'zod';
import { exportsOf, failoverRegions, type Policy } from '../../policies/policy.ts';
import type { RegionId } from '../../regions/catalogue.ts';
import type { Edge } from '../edge.ts';
import { ATTRIBUTES as A } from '../telemetry/names.ts';
import type { SubjectAnswer } from './console-state.ts';
import { tracesOf } from './traces.ts';

const KEY_CHARS = 22;
const HASH_CHARS = 16;
/** Peers are asked; a person waits. */
const FIND_MS_MAX = 1_500;

export const SubjectQuestionBody = z.strictObject({
  subject: z
    .string()
    .regex(
      new RegExp(`^[A-Za-z0-9_-]{${HASH_CHARS}}([A-Za-z0-9_-]{${KEY_CHARS - HASH_CHARS}})?$`),
      `is neither a directory key (${KEY_CHARS} characters of base64url) nor the hash that traces show (${HASH_CHARS})`,
    ),
});

export class Subjects {
  #edge: Edge;

  constructor(edge: Edge) {
    this.#edge = edge;
  }

  async explain(subject: string): Promise<SubjectAnswer> {
    return subject.length === KEY_CHARS ? this.#byKey(subject) : this.#byHash(subject);
  }

  async #byKey(key: string): Promise<SubjectAnswer> {
    const { directory, telemetry, policies } = this.#edge;
    const found = await directory.find(key, FIND_MS_MAX);
    switch (found.kind) {
      case 'unknown':
        return { kind: 'not-found', why: 'No region has a subject of this key.' };
      case 'unsure': {
        const silent = found.silent.join(', ');
        return {
          kind: 'not-found',
          why: `No region that answers has a subject of this key, and ${silent} did not answer.`,
        };
      }
      case 'found': {
        const { home, epoch } = found.entry;
        const hash = telemetry?.subjectName(key);
        return {
          kind: 'found',
          subject: hash ?? key,
          home,
          because: [
            `The directory has it in ${home}${epoch === 1 ? '' : `, where it has moved ${epoch - 1} times`}.`,
            ...whyThere(policies.current.policy, home),
          ],
          recent: hash === undefined ? [] : tracesOf(telemetry, hash),
        };
      }
    }
  }

  #byHash(hash: string): SubjectAnswer {
    const { telemetry, policies } = this.#edge;
    if (telemetry === undefined) {
      return {
        kind: 'not-found',
        why: 'Telemetry is off at this edge, so no traces are kept that could show this hash.',
      };
    }
    const recent = tracesOf(telemetry, hash);
    if (recent.length === 0) {
      return { kind: 'not-found', why: 'No recent trace of this edge is about this hash.' };
    }
    const ids = new Set(recent.map(({ traceId }) => traceId));
    const home = telemetry
      .recentTraces()
      .filter(({ traceId }) => ids.has(traceId))
      .map(({ spans }) => spans[0]?.attributes[A.home])
      .find((told) => typeof told === 'string');
    return {
      kind: 'found',
      subject: hash,
      home: home ?? null,
      because:
        home === undefined
          ? ['Recent traces do not say where its home is.']
          : [`Recent requests found it in ${home}.`, ...whyThere(policies.current.policy, home)],
      recent,
    };
  }
}

/** What the policy says of everybody who is at home there. */
export function whyThere(policy: Policy, home: RegionId): string[] {
  const rules = policy.placement.filter((rule) => rule.home === home);
  const heirs = failoverRegions(policy, home);
  const tables = [...policy.tables.values()].filter(({ kind }) => kind === 'subject');
  const redirected = tables.flatMap((table) =>
    table.kind === 'subject' && table.transit === 'redirect' ? [table.name] : [],
  );
  return [
    ...rules.map(({ rule, because }) => `Rule "${rule}" places subjects there: ${because}.`),
    ...(rules.length === 0 ? ['No rule of this policy places newcomers there any more.'] : []),
    heirs.length === 0
      ? 'Nobody may take over for it but replicas of its own region.'
      : `If its region is lost, ${heirs.join(' or ')} may take over.`,
    ...exportsOf(policy)
      .filter(({ from }) => from === home)
      .map(({ table, to, mirror: { as, columns, rows } }) => {
        const only = rows.length === 0 ? '' : ', of some rows,';
        return `${to} may hold ${columns.join(', ')} of ${table}${only} as ${as}.`;
      }),
    ...(redirected.length === 0
      ? []
      : [`Requests about ${redirected.join(', ')} go to ${home} directly, through no other edge.`]),
  ];
}
