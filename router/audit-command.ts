/**
 * `domicile audit`: is every byte of the running world where its policy lets it be?
 *
 * Looks from another process, says what it found, and leaves a report that others can verify. Exit
 * status 0 when it is clean, 1 with findings, 2 when something could not be looked at. Silence is
 * never clean: a channel in which a control was not found counts as not looked at.
 */
import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Policy } from '../policies/policy.ts';
import { readPolicy } from '../policies/read-policy.ts';
import { CannotStart } from '../regions/local/cannot-start.ts';
import { DatabaseError } from '../regions/postgres.ts';
import { formatComplaint } from '../regions/yaml-complaint.ts';
import {
  type AuditedWorld,
  asSuperuser,
  openAuditedWorld,
  primaryOf,
} from './audit/audited-world.ts';
import { loadCanaryModule } from './audit/canary-module.ts';
import { CHANNEL_GROUPS, type ChannelGroup } from './audit/canary-round.ts';
import {
  type AuditResult,
  EXIT_CODE,
  type Finding,
  type Verdict,
  verdictOf,
} from './audit/finding.ts';
import { htmlReport } from './audit/html-report.ts';
import { receiptProbes } from './audit/receipt-findings.ts';
import { makeReport, openKeyPair, signReport, verifyReport } from './audit/report.ts';
import { type Probe, runAudit } from './audit/run-audit.ts';
import { differences } from './observe-world.ts';
import type { Where } from './open-world.ts';
import { OperatorError } from './operator.ts';
import type { Answer } from './policy-command.ts';

export type AuditOptions = Where & {
  /** Default: the policy in force. */
  policy?: string;
  /** Where reports and the key pair lie; default: `audit` in the world's folder, or beside the file. */
  out?: string;
  /** Groups of channels to leave out, with commas between them. */
  without?: string;
  json?: boolean;
  continuous?: boolean;
  /** Between the starts of two rounds, such as `60s`. */
  every?: string;
  wallClock: () => number;
  random: (bytes: number) => Buffer;
  print: (line: string) => void;
  ending: AbortSignal;
};

export type AuditExit = 0 | 1 | 2;

const STATEMENT_MS_MAX = 30_000;
const EVERY_DEFAULT = '60s';
/** `canary` and so many more: found by chance in nothing. */
const CANARY_BYTES = 9;

export async function auditCommand(options: AuditOptions): Promise<AuditExit> {
  const { print } = options;
  const without = groupsIn(options.without);
  const everyMs = milliseconds(options.every ?? EVERY_DEFAULT);
  const complaints = [
    ...('complaint' in without ? [without.complaint] : []),
    ...(everyMs === undefined ? [`--every  "${options.every}" is no time such as 60s or 5m`] : []),
  ];
  if ('complaint' in without || everyMs === undefined) return refused(complaints, options);
  if (options.continuous !== true) return (await oneRound(options, without.groups)).exit;

  let exit: AuditExit = 0;
  for (let round = 1; !options.ending.aborted; round++) {
    const beganMs = options.wallClock();
    const one = await oneRound({ ...options, print: () => {} }, without.groups);
    exit = one.exit;
    print(JSON.stringify({ round, ...one.line }));
    await pause(everyMs - (options.wallClock() - beganMs), options.ending);
  }
  return exit;
}

type OneRound = { exit: AuditExit; line: Record<string, unknown> };

async function oneRound(
  options: AuditOptions,
  without: ReadonlySet<ChannelGroup>,
): Promise<OneRound> {
  const { print, wallClock } = options;
  const startedMs = wallClock();
  const at = new Date(startedMs).toISOString();
  let world: AuditedWorld;
  let judged: JudgedBy;
  try {
    world = await openAuditedWorld(options);
    judged = await policyOf(world, options.policy);
  } catch (error) {
    if (!(error instanceof CannotStart) && !(error instanceof DatabaseError)) throw error;
    const because = error.message;
    return { exit: refused([because], options), line: { at, exit: 2, because } };
  }
  const { policy, text, disagreeing } = judged;
  const result = await runAudit({
    world,
    policy,
    canaries: await loadCanaryModule(world.files.app),
    draw: () => `canary${options.random(CANARY_BYTES).toString('hex')}`,
    without,
    probes: [catalogues(world, policy, disagreeing), ...receiptProbes(world, policy)],
  });
  const endedMs = wallClock();
  const folder = resolve(options.out ?? world.reports);
  await mkdir(folder, { recursive: true });
  const keys = await openKeyPair(folder);
  const report = signReport(
    makeReport(result, {
      startedAt: at,
      endedAt: new Date(endedMs).toISOString(),
      policy: {
        version: policy.version,
        sha256: createHash('sha256').update(text).digest('hex'),
        because: policy.because,
      },
      regions: [...world.catalogue.regions.keys()],
    }),
    keys,
  );
  const verdict = verdictOf(result);
  // A probe that finds nothing, round after round, keeps the last report only.
  const latest = options.continuous === true && verdict === 'clean';
  const name = join(folder, latest ? 'report-latest' : `report-${at.replaceAll(':', '-')}`);
  await writeFile(`${name}.json`, `${JSON.stringify(report, null, 2)}\n`, { mode: 0o600 });
  await writeFile(`${name}.html`, htmlReport(report), { mode: 0o600 });

  await tellRegions(world, { verdict, ...countsOf(result), policyVersion: policy.version });
  const exit = EXIT_CODE[verdict];
  for (const line of options.json === true ? [] : inWords(result, name)) print(line);
  if (options.json === true) print(machineLine(result));
  return {
    exit,
    line: {
      at,
      ms: endedMs - startedMs,
      verdict,
      exit,
      ...countsOf(result),
      report: `${name}.json`,
    },
  };
}

/** How many audits a region remembers: their reports lie with the auditor. */
const AUDITS_KEPT = 100;

/** Each region's edges tell what the last audit said; a region that cannot be told is in the report. */
async function tellRegions(
  world: AuditedWorld,
  said: { verdict: Verdict; findings: number; blind: number; policyVersion: number },
): Promise<void> {
  const { verdict, findings, blind, policyVersion } = said;
  for (const region of world.catalogue.regions.values()) {
    const primary = await primaryOf(world, region);
    if (primary === undefined) continue;
    await asSuperuser(
      world.superuser(primary),
      async (sql) => {
        const [row] = await sql<{ id: bigint }[]>`
          insert into domicile.audits (verdict, findings, blind, policy_version)
          values (${verdict}, ${findings}, ${blind}, ${policyVersion}) returning id`;
        if (row !== undefined) {
          await sql`delete from domicile.audits where id <= ${row.id}::bigint - ${AUDITS_KEPT}::int`;
        }
      },
      STATEMENT_MS_MAX,
    ).catch((error: unknown) => {
      if (!(error instanceof DatabaseError)) throw error;
    });
  }
}

/** What a third party runs: nothing of the world is needed, only the report and the key. */
export async function verifyCommand(path: string, keyPath: string): Promise<Answer> {
  const texts: string[] = [];
  for (const file of [path, keyPath]) {
    try {
      texts.push(await readFile(file, 'utf8'));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      const because = `${file}  ${code === 'ENOENT' ? 'no such file' : `cannot be read (${code})`}`;
      return { lines: [because], json: { genuine: false, because }, exitCode: 1 };
    }
  }
  const [text = '', key = ''] = texts;
  const answer = verifyReport(text, key);
  if (answer.kind === 'refused') {
    const { because } = answer;
    return {
      lines: [`Not genuine: ${because}.`],
      json: { genuine: false, because },
      exitCode: 1,
    };
  }
  const { startedAt, verdict, findings, channels, regions, policy, leftOut } = answer.report;
  return {
    lines: [
      `Genuine: signed by the holder of this key, and not changed since.`,
      `${startedAt}: ${verdict}; ${findings.length} findings, ${channels.length} channels, regions ${regions.join(', ')}, policy version ${policy.version}.`,
      ...(leftOut.length > 0 ? [`Left out on request: ${leftOut.join(', ')}.`] : []),
    ],
    json: { genuine: true, verdict, startedAt, findings: findings.length },
    exitCode: 0,
  };
}

/** Every catalogue against the policy, and every region against every other about its version. */
function catalogues(world: AuditedWorld, policy: Policy, disagreeing: Finding[]): Probe {
  return {
    name: 'catalogues against the policy',
    run: async () => {
      try {
        const found = await differences(world.operator, policy);
        const regionOf = (cluster: string) =>
          world.nodes.find(({ name }) => name === cluster)?.region.id ?? cluster;
        const findings = found.map(
          ({ cluster, object, words }): Finding => ({
            kind: 'catalogue-differs',
            region: regionOf(cluster),
            at: `${cluster}, ${object}`,
            words,
          }),
        );
        const clusters = [...world.catalogue.regions.values()].reduce(
          (sum, { airlocks }) => sum + 1 + airlocks.length,
          0,
        );
        return { findings: [...disagreeing, ...findings], looked: clusters };
      } catch (error) {
        if (!(error instanceof OperatorError)) throw error;
        return { findings: disagreeing, looked: 0, because: error.message };
      }
    },
  };
}

type JudgedBy = { policy: Policy; text: string; disagreeing: Finding[] };

/** The policy file that was named, or what the regions say is in force. */
async function policyOf(world: AuditedWorld, named: string | undefined): Promise<JudgedBy> {
  const { catalogue } = world;
  if (named !== undefined) {
    const text = await readFile(named, 'utf8').catch((error: NodeJS.ErrnoException) => {
      throw new CannotStart(`${named}  cannot be read (${error.code})`);
    });
    return { ...parsed(text, named, catalogue), disagreeing: [] };
  }
  const inForce = new Map<string, { version: number; text: string }>();
  for (const region of catalogue.regions.values()) {
    const primary = await primaryOf(world, region);
    if (primary === undefined) throw new CannotStart(`no node of ${region.id} takes writes`);
    const [row] = await asSuperuser(
      world.superuser(primary),
      (sql) => sql<{ version: number; text: string }[]>`
        select version, text from domicile.policies
        where in_force_at is not null order by version desc limit 1`,
      STATEMENT_MS_MAX,
    );
    if (row !== undefined) inForce.set(region.id, row);
  }
  const newest = [...inForce.values()].sort((a, b) => b.version - a.version)[0];
  if (newest === undefined) throw new CannotStart('no policy is in force in any region');
  const disagreeing = [...catalogue.regions.keys()].flatMap((id): Finding[] => {
    const own = inForce.get(id);
    if (own?.version === newest.version && own.text === newest.text) return [];
    const says =
      own === undefined
        ? 'has no policy in force'
        : own.version === newest.version
          ? `has another text in force as version ${own.version}`
          : `has version ${own.version} in force`;
    return [
      {
        kind: 'catalogue-differs',
        region: id,
        at: `${id}, domicile.policies`,
        words: `${id}: ${says}, where version ${newest.version} is in force elsewhere`,
      },
    ];
  });
  return { ...parsed(newest.text, `policy version ${newest.version}`, catalogue), disagreeing };
}

function parsed(text: string, name: string, catalogue: AuditedWorld['catalogue']) {
  const read = readPolicy(text, name, catalogue);
  if ('complaints' in read) throw new CannotStart(read.complaints.map(formatComplaint).join('\n'));
  return { policy: read.policy, text };
}

function inWords(result: AuditResult, name: string): string[] {
  const { findings, checks, channels, left, leftOut } = result;
  const lines: string[] = [];
  for (const { words } of findings) lines.push(`  ${words}`);
  if (lines.length > 0) lines.unshift(`${findings.length} findings:`);
  const blind = [
    ...checks.flatMap(({ name: check, because }) =>
      because === undefined ? [] : [{ check, because }],
    ),
    ...channels.flatMap(({ name: check, because, positiveControl }) =>
      because === undefined && positiveControl
        ? []
        : [
            {
              check,
              because: because ?? 'its control was not found, so its silence means nothing',
            },
          ],
    ),
  ];
  if (blind.length > 0) {
    lines.push('Not looked at:', ...blind.map(({ check, because }) => `  ${check}: ${because}`));
  }
  if (leftOut.length > 0) lines.push(`Left out on request: ${leftOut.join(', ')}`);
  if (left.length > 0) lines.push(`Canary subjects that are still there: ${left.join(', ')}`);
  const verdict = verdictOf(result);
  const bytes = channels.reduce((sum, channel) => sum + channel.bytes, 0);
  lines.push(
    `${verdict === 'clean' ? 'Clean' : verdict === 'findings' ? 'Not clean' : 'Could not look everywhere'}: ${checks.length} checks, ${channels.length} channels, ${(bytes / 1e6).toFixed(0)} MB searched.`,
    `Report: ${name}.html, signed: ${name}.json`,
  );
  return lines;
}

/** The last line for machines. */
function machineLine({ findings, channels, checks }: AuditResult): string {
  const undone = checks.flatMap(({ name, because }) =>
    because === undefined ? [] : [{ name, positiveControl: false, hits: 0, because }],
  );
  return JSON.stringify({
    findings,
    channels: [
      ...channels.map(({ name, positiveControl, hits, because }) => ({
        name,
        positiveControl: positiveControl && because === undefined,
        hits,
        ...(because !== undefined && { because }),
      })),
      ...undone,
    ],
  });
}

function countsOf({ findings, channels, checks }: AuditResult) {
  const kinds: Record<string, number> = {};
  for (const { kind } of findings) kinds[kind] = (kinds[kind] ?? 0) + 1;
  return {
    findings: findings.length,
    kinds,
    channels: channels.length,
    blind:
      channels.filter(({ positiveControl, because }) => !positiveControl || because !== undefined)
        .length + checks.filter(({ because }) => because !== undefined).length,
    bytes: channels.reduce((sum, channel) => sum + channel.bytes, 0),
  };
}

function refused(because: readonly string[], { json, print }: AuditOptions): AuditExit {
  if (json === true) {
    const channels = because.map((why) => ({
      name: 'audit',
      positiveControl: false,
      hits: 0,
      because: why,
    }));
    print(JSON.stringify({ findings: [], channels }));
  } else {
    print('Could not look:');
    for (const why of because) print(`  ${why}`);
  }
  return 2;
}

function groupsIn(
  text: string | undefined,
): { groups: ReadonlySet<ChannelGroup> } | { complaint: string } {
  const named = text === undefined ? [] : text.split(',').map((name) => name.trim());
  const known: readonly string[] = CHANNEL_GROUPS;
  const stray = named.find((name) => !known.includes(name));
  if (stray !== undefined) {
    return {
      complaint: `--without  no channels are called "${stray}"; there are ${known.join(', ')}`,
    };
  }
  return { groups: new Set(named as ChannelGroup[]) };
}

function milliseconds(text: string): number | undefined {
  const [, count, unit] = /^(\d{1,6})(s|m|h)$/.exec(text) ?? [];
  if (count === undefined || Number(count) === 0) return undefined;
  return Number(count) * { s: 1_000, m: 60_000, h: 3_600_000 }[unit as 's' | 'm' | 'h'];
}

async function pause(ms: number, ending: AbortSignal): Promise<void> {
  if (ms <= 0 || ending.aborted) return;
  await new Promise<void>((done) => {
    const timer = setTimeout(done, ms);
    ending.addEventListener(
      'abort',
      () => {
        clearTimeout(timer);
        done();
      },
      { once: true },
    );
  });
}
