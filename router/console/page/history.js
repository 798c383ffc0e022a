/**
 * What has changed, and what is being tried?
 *
 * Failovers, the policy and who has another one, experiments with their faults.
 */
import { h } from './draw.js';
import { sign } from './signs.js';
import { clock, dayAndClock, list, longTime } from './words.js';

/** @typedef {import('../console-state.ts').ConsoleState} ConsoleState */
/** @typedef {import('../console-state.ts').ExperimentView} ExperimentView */

const SHOWN = 12;

/** @param {ConsoleState} state */
export function failovers({ failovers: all }) {
  if (all.length === 0) return h('p', { class: 'none' }, 'No keeper tells of a change of primary.');
  return h(
    'ol',
    { class: 'changes' },
    all
      .slice(0, SHOWN)
      .map(({ region, at, version, what, primary, timeline }) =>
        h(
          'li',
          { 'data-key': `${region} ${version}` },
          h('time', { class: 'mono dim', datetime: at }, dayAndClock(Date.parse(at))),
          h(
            'div',
            {},
            h('strong', {}, `${region}: `),
            what,
            h(
              'p',
              { class: 'dim' },
              `primary `,
              h('span', { class: 'mono' }, primary),
              `, timeline ${timeline}, record ${version}`,
            ),
          ),
        ),
      ),
  );
}

/** @param {ConsoleState} state */
export function policy({ policy: { version, sha256, source, drift }, regions }) {
  const answering = regions.filter(({ edge }) => edge.kind !== 'silent').length;
  return [
    h(
      'p',
      { class: 'policy' },
      h('strong', {}, `Policy ${version}`),
      ' ',
      h('span', { class: 'mono dim', title: sha256 }, sha256.slice(0, 12)),
      h(
        'span',
        { class: 'dim' },
        ` from ${source === 'file' ? 'the file' : source === 'recorded' ? 'the record in the database' : source}`,
      ),
    ),
    drift.length === 0
      ? h(
          'p',
          { class: 'with-sign' },
          sign('well'),
          h(
            'span',
            {},
            answering < 2
              ? 'No other edge answers, so nothing can be compared.'
              : 'In force at every edge that answers.',
          ),
        )
      : h(
          'ul',
          { class: 'drift' },
          drift.map((other) =>
            h(
              'li',
              { 'data-key': other.region, class: 'with-sign' },
              sign('warn'),
              h(
                'span',
                {},
                `${other.region} has policy ${other.version} in force `,
                h('span', { class: 'mono dim' }, other.sha256.slice(0, 12)),
              ),
            ),
          ),
        ),
  ];
}

/** @param {ConsoleState} state */
export function experiments({ experiments: all, atMs }) {
  if (all.length === 0) return h('p', { class: 'none' }, 'Nobody has announced one.');
  return h(
    'ol',
    { class: 'experiments' },
    all.slice(0, SHOWN).map((one) => experiment(one, atMs)),
  );
}

/**
 * @param {ExperimentView} experiment
 * @param {number} atMs
 */
function experiment({ id, name, startedAtMs, endedAtMs, verdict, faults }, atMs) {
  const runs = endedAtMs === null;
  return h(
    'li',
    { 'data-key': id, class: runs ? 'runs' : null },
    h(
      'p',
      {},
      h('strong', {}, name),
      ' ',
      h(
        'span',
        { class: 'tag' },
        runs ? `runs for ${longTime(atMs - startedAtMs)}` : (verdict ?? 'ended'),
      ),
      h(
        'span',
        { class: 'dim' },
        ` since ${clock(startedAtMs)}${endedAtMs === null ? '' : `, until ${clock(endedAtMs)}`}`,
      ),
    ),
    h(
      'ul',
      {},
      faults.map(({ what, where, fromMs, toMs }) =>
        h(
          'li',
          { class: toMs === null ? 'lasts' : null },
          h('span', { class: 'mono dim' }, clock(fromMs)),
          ` ${what}`,
          where.length > 0 && ` at ${list(where)}`,
          h(
            'span',
            { class: 'dim' },
            toMs === null ? ', lasts' : `, for ${longTime(toMs - fromMs)}`,
          ),
        ),
      ),
    ),
  );
}
