/**
 * What does one whole audit find?
 *
 * Everything that can be looked at, one after the other, each for itself: what fails is said in its
 * place and does not silence the rest.
 */
import { mayHold, type PlacedCanary } from '../../policies/may-hold.ts';
import type { Policy } from '../../policies/policy.ts';
import { DatabaseError } from '../../regions/postgres.ts';
import { type AuditedWorld, asSuperuser } from './audited-world.ts';
import type { Encoding } from './canary-encodings.ts';
import type { CanaryModuleReading } from './canary-module.ts';
import { type ChannelGroup, canaryRound, PATIENCE, type Patience } from './canary-round.ts';
import type { Look } from './channel.ts';
import type { AuditResult, ChannelReport, Check, Finding } from './finding.ts';
import { checkSettings } from './leaky-settings.ts';
import { checkRowHomes, NoPrimary } from './row-homes.ts';

/** A part of the audit that others provide. It turns what the world does into values itself. */
export type Probe = {
  name: string;
  run: () => Promise<{ findings: readonly Finding[]; looked: number; because?: string }>;
};

export type AuditOptions = {
  world: AuditedWorld;
  policy: Policy;
  canaries: CanaryModuleReading;
  draw: () => string;
  without: ReadonlySet<ChannelGroup>;
  probes: readonly Probe[];
  patience?: Patience;
};

const STATEMENT_MS_MAX = 60_000;
/** Named in the words of a finding; the rest is counted. */
const OFFSETS_MAX = 3;

export async function runAudit(options: AuditOptions): Promise<AuditResult> {
  const { world, policy, canaries, draw, without, probes, patience = PATIENCE } = options;
  const findings: Finding[] = [];
  const checks: Check[] = [];
  const checked = async (name: string, run: Probe['run']) => {
    const { found, because, looked } = await values(run);
    findings.push(...found);
    checks.push({ name, looked, because });
  };
  for (const { name, run } of probes) await checked(name, run);
  await checked('rows, residents and directory', () => checkRowHomes(world, policy));
  for (const node of world.nodes) {
    await checked(`settings of ${node.name}`, () =>
      asSuperuser(world.superuser(node.name), (sql) => checkSettings(sql, node), STATEMENT_MS_MAX),
    );
  }
  if ('because' in canaries) {
    checks.push({ name: 'canaries', looked: 0, because: canaries.because });
    return { findings, checks, channels: [], canaries: [], left: [], leftOut: [...without] };
  }
  const { module } = canaries;
  const round = await canaryRound({ world, policy, module, draw, without, patience });
  const placed = round.subjects.flatMap(({ canaries: written }) => written);
  checks.push({ name: 'canaries', looked: placed.length, because: undefined });
  for (const because of round.problems) checks.push({ name: 'canaries', looked: 0, because });
  const channels = round.looks.map((look) => {
    const judged = judge(policy, placed, look);
    findings.push(...judged.findings);
    return judged.channel;
  });
  findings.push(...round.findings);
  return {
    findings,
    checks,
    channels,
    canaries: placed.map(({ text, home, columns }) => ({
      text,
      home,
      columns: columns.map(({ table, column }) => `${table}.${column}`),
    })),
    left: round.left,
    leftOut: [...without],
  };
}

async function values(
  run: Probe['run'],
): Promise<{ found: readonly Finding[]; looked: number; because: string | undefined }> {
  try {
    const { findings, looked, because } = await run();
    return { found: findings, looked, because };
  } catch (error) {
    if (!(error instanceof DatabaseError) && !(error instanceof NoPrimary)) throw error;
    return { found: [], looked: 0, because: error.message };
  }
}

/** One finding for each canary and each file or object in which it must not be. */
export function judge(
  policy: Policy,
  canaries: readonly PlacedCanary[],
  look: Look,
): { findings: Finding[]; channel: ChannelReport } {
  const { name, place, bytes, positiveControl, because } = look;
  const byText = new Map(canaries.map((canary) => [canary.text, canary]));
  const findings: Finding[] = [];
  let expected = 0;
  for (const [key, { canary: text, at, hits }] of grouped(look)) {
    const canary = byText.get(text);
    if (canary === undefined) throw new RangeError(`a hit for nobody's canary: ${key}`);
    const verdict = mayHold(policy, canary, place);
    if (verdict.kind === 'allowed') {
      expected++;
      continue;
    }
    const column = `${verdict.column.table}.${verdict.column.column}`;
    findings.push({
      kind: 'canary-where-policy-keeps-it',
      region: verdict.region,
      at: `${name}, ${at}`,
      words: `${name}: ${column} of ${canary.home}, which may not be in ${verdict.region} (${verdict.because.replaceAll('-', ' ')}; ${verdict.says}), is in ${at} at ${offsets(hits)}`,
    });
  }
  const channel = { name, positiveControl, hits: findings.length, expected, bytes, because };
  return { findings, channel };
}

type Group = {
  canary: string;
  at: string;
  hits: { offset: number; encoding: Encoding }[];
};

function grouped({ hits }: Look): Map<string, Group> {
  const groups = new Map<string, Group>();
  for (const { canary, at, offset, encoding } of hits) {
    const key = `${canary} ${at}`;
    const group = groups.get(key) ?? { canary, at, hits: [] };
    group.hits.push({ offset, encoding });
    groups.set(key, group);
  }
  return groups;
}

function offsets(hits: Group['hits']): string {
  const named = hits.slice(0, OFFSETS_MAX).map(({ offset, encoding }) => {
    return `byte ${offset} as ${encoding}`;
  });
  const more = hits.length - named.length;
  return more > 0 ? `${named.join(', ')} and ${more} more` : named.join(', ');
}
