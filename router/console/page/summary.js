/**
 * What does somebody have to know first?
 *
 * What is wrong, the worst first, in sentences; or that nothing is.
 */
import { counted, isOfTheSystem, list, longTime, many, ms, refusal } from './words.js';

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

  const silent = new Set(
    state.regions.filter(({ edge }) => edge.kind === 'silent').map(({ id }) => id),
  );
  const placeOf = (/** @type {string} */ end) =>
    state.regions.find(({ nodes }) => nodes.some(({ name }) => name === end))?.id ?? end;
  for (const region of state.regions) ofRegion(region, add);
  for (const link of state.links) {
    // That nothing goes to or from a region that is gone is no second piece of news.
    if (silent.has(link.from) || silent.has(link.to)) continue;
    if (link.health === 'broken')
      add(link.kind === 'hop' ? 'bad' : 'warn', placeOf(link.to), brokenLink(link));
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
  for (const failover of takeovers(state)) {
    const agoMs = state.atMs - Date.parse(failover.at);
    if (agoMs < FAILOVER_NEWS_MS)
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
    if (node.health === 'silent')
      add(
        'warn',
        id,
        `${node.name} does not answer${node.seenMsAgo === null ? '' : `, for ${longTime(node.seenMsAgo)}`}.`,
      );
    else if (node.role === 'replaced')
      add(
        'warn',
        id,
        `${node.name} was replaced and still says that it is primary: nothing is sent to it.`,
      );
    else if (node.role === 'unknown' && node.health !== 'unknown')
      add('warn', id, `${node.name} answers, and what it is nobody knows: nothing is sent to it.`);
    else if (node.health === 'lags')
      add('warn', id, `${node.name} lags: what it shows is ${ms(node.ageMs)} old.`);
  }
  if (typeof edge.operatorsBrokenForMs === 'number')
    add(
      'warn',
      id,
      `Its operators file cannot be read for ${longTime(edge.operatorsBrokenForMs)}: who was let in before still is, and nobody is kept out. The log of the edge says why.`,
    );
  if (edge.telemetry === 'off')
    add('note', id, 'Telemetry is off at its edge: its requests and refusals are not remembered.');
  if (keeper.kind === 'silent') add('warn', id, `Its keeper does not answer: ${keeper.why}.`);
  if (keeper.kind === 'says' && keeper.alone)
    add('warn', id, `${keeper.primary} runs alone: commits wait for no standby.`);
  if (keeper.kind === 'says' && keeper.pending !== null)
    add('warn', id, `Its keeper is at work: ${keeper.why ?? keeper.pending}.`);
  const refusals = Object.entries(edge.traffic.refusals)
    .filter(([because]) => isOfTheSystem(because))
    .toSorted((a, b) => b[1] - a[1]);
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
  const bad = new Set(found.filter(({ severity }) => severity === 'bad').map(({ where }) => where));
  if (bad.size > 0) return { severity: 'bad', says: `Something is wrong in ${list([...bad])}` };
  const warned = found.filter(({ severity }) => severity === 'warn').map(({ where }) => where);
  const places = [...new Set(warned)];
  if (places.length > 0)
    return {
      severity: 'warn',
      says: `${list(places)} ${places.length === 1 ? 'needs' : 'need'} attention`,
    };
  return {
    severity: 'well',
    says: regions === 1 ? 'The region is well' : `All ${regions} regions are well`,
  };
}

/**
 * What the whole does, in four figures.
 * @param {ConsoleState} state
 * @returns {{ name: string, figure: string, about: string, grave: boolean }[]}
 */
export function figures({ regions, links }) {
  const did = regions.flatMap(({ id, edge }) =>
    edge.kind === 'silent' ? [] : [{ id, ...edge.traffic }],
  );
  const lately = did.flatMap(({ decisions }) =>
    Object.values(decisions).map((series) =>
      series.slice(-11, -1).reduce((sum, one) => sum + one, 0),
    ),
  );
  const rate = lately.reduce((sum, one) => sum + one, 0) / 10;
  const refused = did
    .flatMap(({ refusals }) => Object.values(refusals))
    .reduce((sum, one) => sum + one, 0);
  const isGrave = did.some(({ refusals }) => Object.keys(refusals).some(isOfTheSystem));
  const slowest = did
    .flatMap(({ id, latency }) => (latency === null ? [] : [{ id, p99Ms: latency.p99Ms }]))
    .toSorted((a, b) => b.p99Ms - a.p99Ms)[0];
  const oldest = links
    .flatMap(({ kind, from, to, ms: age }) =>
      kind === 'mirror' && age !== null ? [{ from, to, age }] : [],
    )
    .toSorted((a, b) => b.age - a.age)[0];
  return [
    {
      name: 'requests',
      figure: rate < 10 ? String(Number(rate.toFixed(1))) : many(Math.round(rate)),
      about: 'a second',
      grave: false,
    },
    { name: 'refused', figure: many(refused), about: 'in a minute', grave: isGrave },
    {
      name: 'slowest p99',
      figure: slowest === undefined ? '–' : ms(slowest.p99Ms),
      about: slowest === undefined ? 'no request' : `at ${slowest.id}`,
      grave: false,
    },
    {
      name: 'oldest copy',
      figure: oldest === undefined ? '–' : ms(oldest.age),
      about: oldest === undefined ? 'no copy' : `of ${oldest.from} in ${oldest.to}`,
      grave: false,
    },
  ];
}

/**
 * A keeper's records are also of standbys that come and go: those that name another primary than the
 * record before.
 * @param {ConsoleState} state
 */
export function takeovers({ failovers }) {
  return failovers.filter(({ region, version, primary }, index) => {
    const before = failovers.slice(index + 1).find((one) => one.region === region);
    return before === undefined ? version > 1 : before.primary !== primary;
  });
}
