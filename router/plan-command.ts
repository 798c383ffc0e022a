/**
 * `domicile policy plan` and `domicile policy apply`: what a policy would change in a running world,
 * and the change itself.
 *
 * Exit status of a plan: 0 when there is nothing to do, 2 when there is, 1 when it could not be made
 * or could not be applied as it is. Of an apply: 0 when the policy is in force everywhere and every
 * cluster is as it wants it, 1 when not.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { withoutPasswords } from '../policies/cluster-state.ts';
import { SIGHTING_AGE_MS_MAX } from '../policies/place-read.ts';
import type { Policy } from '../policies/policy.ts';
import { DatabaseError } from '../regions/postgres.ts';
import { type Applied, applyPolicy, type Preview, preview } from './apply-plan.ts';
import type { Effect } from './data-effects.ts';
import { type OpenedWorld, openWorld, type Where } from './open-world.ts';
import { OperatorError, Session } from './operator.ts';
import type { Answer } from './policy-command.ts';
import { readPolicyFile } from './read-files.ts';

/** An edge that has not looked for so long serves nothing from a copy any more. */
export const EDGES_NOTICE_MS = SIGHTING_AGE_MS_MAX;

export type PlanCommandOptions = Where & {
  /** Default: the one that the world was started with, or that the installation names. */
  policy?: string;
  /** `YYYY-MM-DD`. */
  today: string;
  /** Where the plan is written for a later apply. */
  out?: string;
};

export type ApplyCommandOptions = Omit<PlanCommandOptions, 'out'> & {
  by: string;
  /** A plan that was written earlier; nothing else is applied. */
  plan?: string;
  print: (line: string) => void;
  signal: AbortSignal;
};

type PlanFile = { format: 1; version: number; hash: string };

export async function planCommand(options: PlanCommandOptions): Promise<Answer> {
  const world = await openWorld(options);
  const read = await readPolicyFile(policyOf(options, world), world.operator.catalogue);
  if ('complaints' in read) return failed(read.complaints);
  const session = new Session(world.operator);
  try {
    const seen = await preview(session, { ...read, today: options.today });
    const json = planJson(read.policy, seen);
    if (options.out !== undefined) {
      await writeFile(options.out, `${JSON.stringify(json, null, 2)}\n`);
    }
    const { steps } = seen.view.plan;
    return {
      lines: planLines(read.policy, seen),
      json,
      exitCode: seen.refusals.length > 0 ? 1 : steps.length > 0 ? 2 : 0,
    };
  } catch (error) {
    return failed([why(error)]);
  } finally {
    await session.close();
  }
}

export async function applyCommand(options: ApplyCommandOptions): Promise<Answer> {
  const world = await openWorld(options);
  const read = await readPolicyFile(policyOf(options, world), world.operator.catalogue);
  if ('complaints' in read) return failed(read.complaints);
  const agreed = options.plan === undefined ? undefined : await planFile(options.plan);
  if (agreed !== undefined && 'complaint' in agreed) return failed([agreed.complaint]);
  try {
    const applied = await applyPolicy({
      operator: world.operator,
      ...read,
      today: options.today,
      by: options.by,
      edgesNoticeMs: EDGES_NOTICE_MS,
      report: options.print,
      signal: options.signal,
      ...(agreed !== undefined && { agreed: agreed.hash }),
    });
    return appliedAnswer(applied);
  } catch (error) {
    if (options.signal.aborted) {
      return failed(['ended before the last step; run the command again to go on from there']);
    }
    return failed([why(error)]);
  }
}

export function appliedAnswer(applied: Applied): Answer {
  switch (applied.kind) {
    case 'applied': {
      const { version, steps } = applied;
      const done = steps === 0 ? 'Nothing was to be done' : `${steps} steps are done`;
      return {
        lines: [
          `${done}: policy version ${version} is in force, and every cluster is as it wants it.`,
        ],
        json: { outcome: 'applied', version, steps },
        exitCode: 0,
      };
    }
    case 'refused':
      return {
        lines: ['Nothing was changed:', ...applied.because.map((line) => `  ${line}`)],
        json: { outcome: 'refused', because: applied.because },
        exitCode: 1,
      };
    case 'stopped': {
      const { done, failures } = applied;
      return {
        lines: [
          'Stopped half way; run the same command again to go on from there.',
          ...failures.map(({ cluster, step, why: because }) => `  ${cluster}: ${step}: ${because}`),
          `  without a failure: ${done.join(', ') || 'no region'}`,
        ],
        json: { outcome: 'stopped', done, failures },
        exitCode: 1,
      };
    }
  }
}

/** What a person can mend is said in words; everything else is a bug and keeps its stack. */
export function why(error: unknown): string {
  if (error instanceof OperatorError) return error.message;
  if (error instanceof DatabaseError) return `a cluster did not answer: ${error.message}`;
  throw error;
}

function policyOf({ policy }: { policy?: string }, { files }: OpenedWorld): string {
  return policy === undefined ? files.policy : resolve(policy);
}

async function planFile(path: string): Promise<PlanFile | { complaint: string }> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return {
      complaint: `${path}  ${code === 'ENOENT' ? 'no such file' : `cannot be read (${code})`}`,
    };
  }
  try {
    const file = JSON.parse(text) as Partial<PlanFile>;
    if (file.format === 1 && typeof file.hash === 'string' && typeof file.version === 'number') {
      return { format: 1, version: file.version, hash: file.hash };
    }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return { complaint: `${path}  is not a plan that "policy plan --out" has written` };
}

function failed(complaints: readonly string[]): Answer {
  return { lines: complaints, json: { outcome: 'failed', complaints }, exitCode: 1 };
}

function planJson(policy: Policy, { view, effects, refusals }: Preview) {
  const { steps, differences, inForce } = view.plan;
  return {
    format: 1,
    version: policy.version,
    inForce: inForce ?? null,
    because: policy.because,
    effective: policy.effective,
    hash: view.hash,
    refusals,
    effects: effects.effects,
    differences,
    steps: steps.map(({ phase, cluster, object, kind, direction, words, action }) => ({
      phase,
      cluster,
      object,
      kind,
      direction,
      words,
      sql: sqlOf(action).map(withoutPasswords),
    })),
  };
}

function sqlOf(action: Preview['view']['plan']['steps'][number]['action']): readonly string[] {
  if (action.do === 'sql' || action.do === 'lone sql') return action.statements;
  if (action.do !== 'follow') return [];
  const follow = action.create ?? `alter subscription ${action.subscription} refresh publication`;
  return [...action.empty, follow];
}

function planLines(policy: Policy, { view, effects, refusals }: Preview): string[] {
  const { steps, inForce } = view.plan;
  const { version } = policy;
  const now = inForce === undefined ? 'no version is in force' : `version ${inForce} is in force`;
  const lines = [`Policy version ${version}; ${now}.`];
  if (steps.length === 0) lines.push('Every cluster is as the policy wants it; nothing to do.');
  let phase: string | undefined;
  for (const step of steps) {
    if (step.phase !== phase) lines.push('', `${step.phase}`);
    phase = step.phase;
    lines.push(`  ${MARK[step.kind]} ${step.words}`);
  }
  if (effects.effects.length > 0) lines.push('', 'data');
  for (const effect of effects.effects) lines.push(`  ${effectInWords(effect)}`);
  if (refusals.length > 0) lines.push('', 'This cannot be applied:');
  for (const refusal of refusals) lines.push(`  ${refusal}`);
  return lines;
}

const MARK = { create: '+', change: '~', drop: '-' } as const;

function effectInWords(effect: Effect): string {
  switch (effect.kind) {
    case 'erases':
      return `${rows(effect.rows)} of ${effect.what} in ${effect.cluster} go`;
    case 'copies':
      return `${rows(effect.rows)} of ${effect.from} are copied to ${effect.to} as ${effect.what}`;
    case 'strands':
      return `${effect.subjects} ${effect.subjects === 1 ? 'subject' : 'subjects'} of ${effect.jurisdiction} live in ${effect.home}, which the policy does not allow`;
    case 'foreign rows':
      return `${rows(effect.rows)} of ${effect.table} in ${effect.home} belong to nobody who is at home there`;
  }
}

function rows(count: number): string {
  return count === 1 ? '1 row' : `${count} rows`;
}
