/**
 * `domicile schema plan` and `domicile schema apply`: what the app's new scripts would change in a
 * running world, and the change itself.
 *
 * Exit status of a plan: 0 when no script is new, 2 when one is, 1 when they cannot be applied. Of an
 * apply: 0 when every region has run every script and every cluster is as the policy wants it.
 */
import { resolve } from 'node:path';
import { openWorld, type Where } from './open-world.ts';
import { Session } from './operator.ts';
import { appliedAnswer, EDGES_NOTICE_MS, why } from './plan-command.ts';
import type { Answer } from './policy-command.ts';
import { readPolicyFile, shown } from './read-files.ts';
import { type Migration, readMigrations } from './read-migrations.ts';
import { type Preparation, prepare, rollOutSchema } from './roll-out-schema.ts';

export type SchemaPlanOptions = Where & {
  /** Default: the one that the world was started with, or that the installation names. */
  policy?: string;
  /** `YYYY-MM-DD`. */
  today: string;
};

export type SchemaApplyOptions = SchemaPlanOptions & {
  by: string;
  print: (line: string) => void;
  signal: AbortSignal;
};

export async function schemaPlanCommand(options: SchemaPlanOptions): Promise<Answer> {
  const read = await readAll(options);
  if ('complaints' in read) return refused(read.complaints);
  const session = new Session(read.operator);
  try {
    const prepared = await prepare(session, { ...read, today: options.today });
    if ('because' in prepared) return refused(prepared.because);
    return planAnswer(prepared.ready, read.folder);
  } catch (error) {
    return refused(why(error).split('\n'));
  } finally {
    await session.close();
  }
}

export async function schemaApplyCommand(options: SchemaApplyOptions): Promise<Answer> {
  const read = await readAll(options);
  if ('complaints' in read) return refused(read.complaints);
  const { operator, policy, text, migrations } = read;
  const { today, by, print: report, signal } = options;
  try {
    const rolledOut = await rollOutSchema({
      ...{ operator, policy, text, migrations, today, by, report, signal },
      edgesNoticeMs: EDGES_NOTICE_MS,
    });
    const { lines, json, exitCode } = appliedAnswer(rolledOut);
    const ran = [...rolledOut.ran];
    return {
      lines: [
        ...ran.map(([region, scripts]) => `${region} has run ${scripts.join(', ')}.`),
        ...lines,
      ],
      json: { ...(json as object), ran: Object.fromEntries(ran) },
      exitCode,
    };
  } catch (error) {
    if (signal.aborted) {
      const words = 'ended before the last step; run the command again to go on from there';
      return { lines: [words], json: { outcome: 'failed', complaints: [words] }, exitCode: 1 };
    }
    return refused(why(error).split('\n'));
  }
}

async function readAll({ policy: named, ...where }: SchemaPlanOptions) {
  const { operator, files } = await openWorld(where);
  const policy = named === undefined ? files.policy : resolve(named);
  const [read, scripts] = await Promise.all([
    readPolicyFile(policy, operator.catalogue),
    readMigrations(files.migrations),
  ]);
  const complaints = [read, scripts].flatMap((one) => ('complaints' in one ? one.complaints : []));
  if ('complaints' in read || 'complaints' in scripts) return { complaints };
  return { operator, ...read, ...scripts, folder: files.migrations };
}

function planAnswer({ pending, steps }: Preparation, folder: string): Answer {
  const isNew = [...pending.values()].some((scripts) => scripts.length > 0);
  if (!isNew) {
    const lines = [`Every region has run every script of ${shown(folder)}; nothing to do.`];
    return { lines, json: { scripts: {}, steps: [] }, exitCode: 0 };
  }
  const words = [
    ...steps.rests.map((rest) => rest.words),
    ...steps.alterations.map((alteration) => alteration.words),
    ...steps.regions.flatMap((region) =>
      (pending.get(region) ?? []).map(({ name }) => `run ${name} in ${region}`),
    ),
  ];
  return {
    lines: ['In this order:', ...words.map((line) => `  ${line}`), '  apply the policy'],
    json: { scripts: Object.fromEntries([...pending].map(named)), steps: words },
    exitCode: 2,
  };
}

function named([region, scripts]: [string, readonly Migration[]]): [string, string[]] {
  return [region, scripts.map(({ name }) => name)];
}

function refused(because: readonly string[]): Answer {
  return {
    lines: ['Nothing was changed:', ...because.map((line) => `  ${line}`)],
    json: { outcome: 'refused', because },
    exitCode: 1,
  };
}
