/**
 * `domicile region`: what a person asks the keeper of one region, or tells it.
 *
 * The keeper answers over HTTP; the words for a terminal are made here.
 */

import type { KeeperRecord } from '../policies/keeper/record.ts';
import { eventText } from './keeper/event-text.ts';
import type { KeeperStatus } from './keeper/keeper.ts';
import type { StewardOutcome } from './keeper/steward.ts';
import { openLocalWorld } from './local-operator.ts';
import { keeperToken } from './password-names.ts';
import type { Answer } from './policy-command.ts';

type Asked = { region: string; root: string };

/** A switchover waits for writes under way, a shutdown and a promotion. */
const ORDER_MS_MAX = 60_000;
const QUESTION_MS_MAX = 5_000;

export async function regionStatus(asked: Asked): Promise<Answer> {
  const status = await ask<KeeperStatus>(asked, '/status');
  if ('complaint' in status) return failed(status.complaint);
  const { record, isAlone, primary, why, nodes } = status.answer;
  const lines =
    record === undefined
      ? [`${asked.region}: ${why ?? 'nothing is known yet'}`]
      : [
          `${asked.region}: ${record.primary} is the primary, on timeline ${record.timeline}; ${waitsText(record)}`,
          ...(isAlone
            ? [
                'It runs alone: what it acknowledges now is on one machine only, and nobody may take over without --accept-loss.',
              ]
            : []),
          ...(record.pending === null ? [] : [pendingText(record)]),
          ...(primary === undefined || primary.kind === 'serves'
            ? []
            : [`${record.primary}: ${why}`]),
        ];
  const isSpread = new Set(nodes.map(({ site }) => site)).size > 1;
  for (const { node, site, says, forMs, underWay } of nodes) {
    const doing = underWay === undefined ? '' : `; under way: ${underWay}`;
    const where = isSpread ? `at ${site.padEnd(8)} ` : '';
    lines.push(`  ${node.padEnd(12)} ${where}${says}, for ${seconds(forMs)}${doing}`);
  }
  const isWell = primary?.kind === 'serves' && !isAlone && record?.pending === null;
  return { lines, json: status.answer, exitCode: isWell ? 0 : 1 };
}

export async function regionHistory(asked: Asked & { count: string }): Promise<Answer> {
  const history = await ask<KeeperRecord[]>(asked, `/history?count=${Number(asked.count)}`);
  if ('complaint' in history) return failed(history.complaint);
  const lines = history.answer.map(
    (record) => `${String(record.version).padStart(4)}  ${record.at}  ${eventText(record)}`,
  );
  return { lines, json: history.answer, exitCode: 0 };
}

export async function regionSwitchover(
  asked: Asked & { to?: string; by: string },
): Promise<Answer> {
  const { to, by } = asked;
  return order(asked, '/orders/switchover', { ...(to !== undefined && { to }), by });
}

export async function regionRelocate(
  asked: Asked & { to: string; acceptLoss?: boolean; why?: string; by: string },
): Promise<Answer> {
  const { to, by, acceptLoss, why } = asked;
  if ((acceptLoss === true) !== (why !== undefined)) {
    return failed('--accept-loss and --why belong together: the reason goes into the record.');
  }
  const answer = await order(asked, '/orders/relocate-primary', {
    to,
    by,
    ...(why !== undefined && { acceptLoss: why }),
  });
  const isLoss = answer.exitCode === 0 && why !== undefined;
  return isLoss ? { ...answer, lines: [...answer.lines, ...AFTER_LOSS] } : answer;
}

export async function regionPromote(
  asked: Asked & { node: string; acceptLoss?: boolean; why?: string; by: string },
): Promise<Answer> {
  const { node, by, why } = asked;
  if (asked.acceptLoss !== true || why === undefined) {
    return failed(
      'This may lose acknowledged writes. Say --accept-loss, and --why for the record. Where nothing is to be lost, use switchover.',
    );
  }
  const answer = await order(asked, '/orders/promote', { node, acceptLoss: true, why, by });
  return answer.exitCode === 0 ? { ...answer, lines: [...answer.lines, ...AFTER_LOSS] } : answer;
}

/** Copies between regions may show what was lost, or lack what was confirmed to others. */
const AFTER_LOSS = [
  '',
  'Mirrors of this region elsewhere, and of others here, may stand still now: reads go to their homes.',
  'Which ones:      domicile mirrors status',
  'Fill them anew:  domicile policy apply',
];

async function order(asked: Asked, path: string, body: object): Promise<Answer> {
  const outcome = await ask<StewardOutcome>(asked, path, body);
  if ('complaint' in outcome) return failed(outcome.complaint);
  if (outcome.answer.kind !== 'done') {
    const { kind, why } = outcome.answer;
    const line =
      kind === 'refused' ? `refused: ${why}. Nothing was changed.` : `nobody knows yet: ${why}`;
    return { lines: [line], json: outcome.answer, exitCode: 1 };
  }
  const { lines, json } = await regionStatus(asked);
  return { lines, json: { ...outcome.answer, status: json }, exitCode: 0 };
}

type Said<T> = { answer: T } | { complaint: string };

async function ask<T>({ region, root }: Asked, path: string, body?: object): Promise<Said<T>> {
  const { operator } = await openLocalWorld(root);
  const found = operator.catalogue.regions.get(region);
  if (found === undefined) {
    const known = [...operator.catalogue.regions.keys()].join(', ');
    return { complaint: `no region "${region}"; there are ${known}` };
  }
  if (found.keeper?.url === undefined) return { complaint: `no keeper of ours keeps ${region}` };
  try {
    const response = await fetch(`${found.keeper.url}${path}`, {
      signal: AbortSignal.timeout(body === undefined ? QUESTION_MS_MAX : ORDER_MS_MAX),
      ...(body !== undefined && {
        method: 'POST',
        headers: { authorization: `Bearer ${operator.password(keeperToken(region))}` },
        body: JSON.stringify(body),
      }),
    });
    return { answer: (await response.json()) as T };
  } catch (error) {
    const cause = error instanceof Error ? (error.cause ?? error) : error;
    const { code, name } = cause as NodeJS.ErrnoException;
    return {
      complaint: `the keeper of ${region} at ${found.keeper.url} does not answer (${code ?? name})`,
    };
  }
}

function failed(complaint: string): Answer {
  return { lines: [complaint], json: { kind: 'failed', why: complaint }, exitCode: 1 };
}

function waitsText({ standbys, commits }: KeeperRecord): string {
  if (commits === 'asynchronous') return 'commits wait for nobody, as the policy wants it';
  return standbys.length === 0
    ? 'commits wait for nobody'
    : `commits wait for ${standbys.join(' or ')}`;
}

function pendingText({ primary, pending }: KeeperRecord): string {
  switch (pending?.kind) {
    case undefined:
      return '';
    case 'switchover':
      return `It is handing over to ${pending.to}.`;
    case 'move':
      return `It is to hand over to ${pending.to.join(' or ')}, once commits wait for that one.`;
    case 'promotion':
      return `${primary} is being promoted; ${pending.deposed} is deposed.`;
  }
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
