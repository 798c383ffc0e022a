/**
 * `domicile region … --regions`: what a person asks of a region whose primary Patroni or a managed
 * service moves.
 *
 * There is no process of ours to ask, so this looks for itself, with the login that edges have.
 */
import { dirname } from 'node:path';
import type { Region } from '../regions/catalogue.ts';
import { formatLsn } from '../regions/position.ts';
import type { Endpoint } from '../regions/postgres.ts';
import { readCatalogue } from '../regions/read-catalogue.ts';
import { formatComplaint } from '../regions/yaml-complaint.ts';
import { ManagedSteward } from './keeper/managed.ts';
import { PatroniSteward } from './keeper/patroni.ts';
import type { NodeView, StewardOutcome } from './keeper/steward.ts';
import type { Answer } from './policy-command.ts';
import { readAuthorities, readText } from './read-files.ts';
import { LOGINS } from './region-database.ts';

export type FollowedRegion = {
  region: string;
  /** The regions file. */
  regions: string;
  environment: Readonly<Record<string, string | undefined>>;
  now: () => number;
};

type Opened =
  | { kind: 'patroni'; steward: PatroniSteward }
  | { kind: 'managed'; steward: ManagedSteward; by: string }
  | { kind: 'failed'; complaint: string };

export async function followedStatus(asked: FollowedRegion): Promise<Answer> {
  const opened = await open(asked);
  if (opened.kind === 'failed') return failed(opened.complaint);
  try {
    const view = await opened.steward.observe();
    const members =
      'patroni' in view && view.patroni.kind === 'answered' ? view.patroni : undefined;
    const lines = [
      view.primary === undefined
        ? `${asked.region}: nobody is known to be the primary: ${view.doubt}`
        : `${asked.region}: ${view.primary} is the primary, on timeline ${view.timeline}`,
    ];
    if (members?.isPaused) lines.push('Patroni is paused: it replaces nobody by itself.');
    for (const node of view.nodes) {
      const role = members?.members.find(({ name }) => name === node.node)?.role;
      const waits = role === 'sync_standby' ? '; commits wait for it' : '';
      lines.push(`  ${node.node.padEnd(12)} ${nodeText(node)}${waits}`);
    }
    const complaints = opened.kind === 'patroni' ? await opened.steward.complaints() : { ok: [] };
    const wrong = 'ok' in complaints ? complaints.ok : [];
    lines.push(...wrong.map((one) => `  Patroni: ${one}`));
    const isWell =
      view.primary !== undefined &&
      wrong.length === 0 &&
      view.nodes.every(({ kind }) => kind === 'seen');
    const { primary = null, timeline = null, doubt = null } = view;
    const nodes = view.nodes.map((node) =>
      node.kind === 'silent'
        ? node
        : { ...node, systemId: String(node.systemId), lsn: formatLsn(node.lsn) },
    );
    const json = { primary, timeline, doubt, nodes, complaints: wrong };
    return { lines, json, exitCode: isWell ? 0 : 1 };
  } finally {
    await opened.steward.close();
  }
}

export async function followedHistory(asked: FollowedRegion & { count: string }): Promise<Answer> {
  const opened = await open(asked);
  if (opened.kind === 'failed') return failed(opened.complaint);
  try {
    if (opened.kind === 'managed') return failed(`only ${opened.by} remembers what it did`);
    const history = await opened.steward.history();
    if ('why' in history) return failed(`no Patroni answers: ${history.why}`);
    const last = history.ok.slice(-Math.max(1, Number(asked.count) || 20));
    const lines = last.map(
      ({ timeline, end, reason, at = 'at an unknown time', to }) =>
        `${String(timeline).padStart(4)}  ended ${at} at ${formatLsn(end)}${to === undefined ? '' : `, ${to} took over`}: ${reason}`,
    );
    const json = last.map((one) => ({ ...one, end: formatLsn(one.end) }));
    return { lines: lines.length === 0 ? ['no promotion yet'] : lines, json, exitCode: 0 };
  } finally {
    await opened.steward.close();
  }
}

export async function followedSwitchover(asked: FollowedRegion & { to?: string }): Promise<Answer> {
  const opened = await open(asked);
  if (opened.kind === 'failed') return failed(opened.complaint);
  let outcome: StewardOutcome;
  try {
    if (opened.kind === 'managed') {
      outcome = await opened.steward.promote(asked.to ?? 'another node');
    } else {
      const view = await opened.steward.observe();
      const { patroni } = view;
      const standby =
        patroni.kind === 'answered'
          ? patroni.members.find(({ role }) => role === 'sync_standby')?.name
          : undefined;
      const to = asked.to ?? standby;
      if (view.primary === undefined) outcome = { kind: 'refused', why: view.doubt };
      else if (to === undefined) {
        outcome = { kind: 'refused', why: 'Patroni names no synchronous standby now' };
      } else outcome = await opened.steward.promote(to, { timeline: view.timeline });
    }
  } finally {
    await opened.steward.close();
  }
  if (outcome.kind === 'done') {
    const { lines, json } = await followedStatus(asked);
    return { lines, json: { ...outcome, status: json }, exitCode: 0 };
  }
  const { kind, why } = outcome;
  const line =
    kind === 'refused' ? `refused: ${why}. Nothing was changed.` : `nobody knows yet: ${why}`;
  return { lines: [line], json: outcome, exitCode: 1 };
}

async function open({ region: id, regions, environment, now }: FollowedRegion): Promise<Opened> {
  const complain = (complaint: string): Opened => ({ kind: 'failed', complaint });
  const file = await readText(regions);
  if ('complaint' in file) return complain(file.complaint);
  const reading = readCatalogue(file.text, regions);
  if ('complaints' in reading) {
    return complain(reading.complaints.map(formatComplaint).join('\n'));
  }
  const authorities = await readAuthorities(reading.catalogue, dirname(regions));
  if ('complaints' in authorities) return complain(authorities.complaints.join('\n'));
  const known = authorities.catalogue.regions;
  const region = known.get(id);
  if (region === undefined) {
    return complain(`no region "${id}"; there are ${[...known.keys()].join(', ')}`);
  }
  const { keeper } = region;
  if (keeper?.kind === undefined) {
    return complain(
      `${regions} does not say that Patroni or a managed service moves the primary of ${id}; without --regions, the keeper of the local world is asked`,
    );
  }
  const { DOMICILE_DATABASE_PASSWORD: password = '' } = environment;
  if (password === '') {
    return complain('DOMICILE_DATABASE_PASSWORD  is needed: nodes are looked at as edges do');
  }
  const login = { database: region.database, user: LOGINS.router, password };
  if (keeper.kind === 'managed') {
    const { endpoint } = keeper;
    const steward = new ManagedSteward({ region, endpoint, login: () => login });
    return { kind: 'managed', steward, by: `the service behind ${endpoint.host}` };
  }
  const { DOMICILE_PATRONI_USER: user, DOMICILE_PATRONI_PASSWORD: secret } = environment;
  if ((user === undefined) !== (secret === undefined)) {
    return complain('DOMICILE_PATRONI_USER and DOMICILE_PATRONI_PASSWORD  go together; one is set');
  }
  const steward = new PatroniSteward({
    region,
    members: keeper.members,
    endpoint: (node) => endpointOf(region, node, login),
    now,
    ...(user !== undefined && secret !== undefined && { auth: { user, password: secret } }),
  });
  return { kind: 'patroni', steward };
}

function endpointOf(
  { nodes }: Region,
  node: string,
  login: Pick<Endpoint, 'database' | 'user' | 'password'>,
): Endpoint {
  const found = nodes.find(({ name }) => name === node);
  if (found === undefined) throw new RangeError(`no node ${node}`);
  return { ...found, ...login };
}

function nodeText(node: NodeView): string {
  if (node.kind === 'silent') {
    if (node.why !== undefined) return `not trusted: ${node.why}`;
    return node.because === 'refused' ? 'nobody listens there' : 'does not answer';
  }
  return `${node.role}, timeline ${node.timeline}, at ${formatLsn(node.lsn)}`;
}

function failed(complaint: string): Answer {
  return { lines: [complaint], json: { kind: 'failed', why: complaint }, exitCode: 1 };
}
