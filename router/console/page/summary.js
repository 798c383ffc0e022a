/**
 * What does somebody have to know first?
 *
 * What is wrong, the worst first, in sentences; or that nothing is.
 */
import { counted, list, longTime, ms, refusal } from './words.js';

/** @typedef {import('../console-state.ts').ConsoleState} ConsoleState */
/** @typedef {import('../console-state.ts').RegionView} RegionView */
/** @typedef {'bad' | 'warn' | 'note'} Severity */
/** @typedef {{ key: string, severity: Severity, where: string, says: string }} Notice */

/** A copy that is older than this is worth a sentence. */
const MIRROR_AGE_MS_MAX = 30_000;
/** A failover is news for so long. */
const FAILOVER_NEWS_MS = 600_000;

/**
 * @param {ConsoleState} state
 * @returns {Notice[]}
 */
export function notices(state) {
  /** @type {Notice[]} */
  const found = [];
  const add = (
    /** @type {Severity} */ severity,
    /** @type {string} */ where,
    /** @type {string} */ says,
  ) => found.push({ key: `${where} ${says.replaceAll(/[\d.]+/g, '')}`, severity, where, says });

  for (const region of state.regions) ofRegion(region, add);
  for (const link of state.links) {
    if (link.health === 'broken')
      add(link.kind === 'hop' ? 'bad' : 'warn', link.to, brokenLink(link));
    else if (link.kind === 'mirror' && link.ms !== null && link.ms > MIRROR_AGE_MS_MAX)
      add('warn', link.to, `The copy of ${link.from} here is ${ms(link.ms)} old.`);
  }
  for (const { region, version, sha256 } of state.policy.drift)
    add(
      'warn',
      region,
      version === state.policy.version
        ? `Another text of policy ${version} is in force (${sha256.slice(0, 8)}).`
        : `Policy ${version} is in force, not ${state.policy.version}.`,
    );
  for (const failover of state.failovers) {
    const agoMs = state.atMs - Date.parse(failover.at);
    if (agoMs < FAILOVER_NEWS_MS && failover.version > 1)
      add('note', failover.region, `${failover.primary} took over ${longTime(agoMs)} ago.`);
  }
  for (const { name, endedAtMs, faults } of state.experiments) {
    if (endedAtMs !== null) continue;
    const now = faults.filter(({ toMs }) => toMs === null).map(({ what }) => what);
    add(
      'note',
      'experiment',
      `“${name}” is being tried${now.length === 0 ? '.' : `: ${now.join('; ')}.`}`,
    );
  }
  const order = ['bad', 'warn', 'note'];
  return found.sort((a, b) => order.indexOf(a.severity) - order.indexOf(b.severity));
}

/**
 * @param {RegionView} region
 * @param {(severity: Severity, where: string, says: string) => unknown} add
 */
function ofRegion({ id, edge, nodes, keeper }, add) {
  if (edge.kind === 'silent') {
    add('bad', id, `Its edge has not answered for ${longTime(edge.forMs)}: ${edge.why}.`);
    return;
  }
  const primaries = nodes.filter(({ role, health }) => role === 'primary' && health !== 'silent');
  if (nodes.length > 0 && primaries.length === 0)
    add('bad', id, 'No primary answers: nothing can be written here.');
  if (primaries.length > 1)
    add('bad', id, `${list(primaries.map(({ name }) => name))} both say that they are primary.`);
  for (const node of nodes) {
    if (node.health === 'silent') add('bad', id, `${node.name} does not answer.`);
    if (node.health === 'lags')
      add('warn', id, `${node.name} lags: what it shows is ${ms(node.ageMs)} old.`);
  }
  if (keeper.kind === 'silent') add('warn', id, `Its keeper does not answer: ${keeper.why}.`);
  if (keeper.kind === 'says' && keeper.alone)
    add('warn', id, `${keeper.primary} runs alone: commits wait for no standby.`);
  if (keeper.kind === 'says' && keeper.pending !== null)
    add('warn', id, `The keeper is changing the primary: ${keeper.why ?? keeper.pending}.`);
  const refusals = Object.entries(edge.traffic.refusals).toSorted((a, b) => b[1] - a[1]);
  const all = refusals.reduce((sum, [, count]) => sum + count, 0);
  const [most] = refusals;
  if (most !== undefined && all > 0)
    add('warn', id, `${counted(all, 'refusal')} in the last minute, mostly: ${refusal(most[0])}.`);
}

/** @param {import('../console-state.ts').LinkView} link */
function brokenLink({ kind, from, to }) {
  if (kind === 'hop') return `Requests from ${from} do not get to ${to}.`;
  if (kind === 'mirror') return `Nothing of ${from} arrives in ${to}.`;
  return `${to} does not follow ${from}.`;
}

/**
 * @param {readonly Notice[]} found
 * @param {number} regions
 * @returns {{ severity: Severity | 'well', says: string }}
 */
export function headline(found, regions) {
  const count = (/** @type {Severity} */ wanted) =>
    found.filter(({ severity }) => severity === wanted).length;
  const bad = new Set(found.filter(({ severity }) => severity === 'bad').map(({ where }) => where));
  if (bad.size > 0) return { severity: 'bad', says: `Something is wrong in ${list([...bad])}` };
  if (count('warn') > 0)
    return { severity: 'warn', says: `${counted(count('warn'), 'thing')} to look at` };
  return {
    severity: 'well',
    says: regions === 1 ? 'The region is well' : `All ${regions} regions are well`,
  };
}
