/**
 * How is each region?
 *
 * Its edge, its nodes with role, timeline and lag, its keeper, and what it holds of the others.
 */
import { h } from './draw.js';
import { looksLike, nodeSign, sign } from './signs.js';
import { lag, longTime, ms, nodeHealth, ROLES } from './words.js';

/** @typedef {import('../console-state.ts').ConsoleState} ConsoleState */
/** @typedef {import('../console-state.ts').RegionView} RegionView */
/** @typedef {import('../console-state.ts').NodeView} NodeView */

/** @param {ConsoleState} state */
export function regions(state) {
  return state.regions.map((region) => card(region, state));
}

/**
 * @param {RegionView} region
 * @param {ConsoleState} state
 */
function card(region, state) {
  const { id, edge, nodes, keeper } = region;
  const silent = edge.kind === 'silent';
  return h(
    'article',
    { class: silent ? 'card silent' : 'card', 'data-key': id, 'aria-labelledby': `region-${id}` },
    h(
      'header',
      {},
      h('h3', { id: `region-${id}` }, id),
      h('span', { class: 'dim' }, region.title ?? ''),
      h('span', { class: silent ? 'edge-says bad' : 'edge-says' }, edgeSays(region)),
    ),
    silent && h('p', { class: 'why' }, sign('bad'), edge.why),
    nodes.length === 0
      ? h('p', { class: 'dim' }, silent ? 'Nothing is known of its nodes.' : 'It tells of no node.')
      : h(
          'table',
          { class: 'nodes' },
          h('caption', { class: 'only-read' }, `Nodes of ${id}`),
          h(
            'thead',
            {},
            h(
              'tr',
              {},
              ['node', 'role', 'tl', 'position', 'lag'].map((name) =>
                h('th', { scope: 'col', title: name === 'tl' ? 'timeline' : null }, name),
              ),
            ),
          ),
          h('tbody', {}, nodes.map(row)),
        ),
    h('dl', { class: 'facts' }, keeperSays(keeper), copies(region, state)),
  );
}

/** @param {RegionView} region */
function edgeSays({ edge }) {
  switch (edge.kind) {
    case 'here':
      return 'this edge';
    case 'answers':
      return `answers in ${ms(edge.roundTripMs)}`;
    case 'silent':
      return `silent for ${longTime(edge.forMs)}`;
  }
}

/** @param {NodeView} node */
function row(node) {
  const seen = node.seenMsAgo === null ? '' : `, seen ${ms(node.seenMsAgo)} ago`;
  return h(
    'tr',
    {
      'data-key': node.name,
      class: looksLike(node),
      title: `${node.name} ${nodeHealth(node)}${seen}`,
    },
    h('th', { scope: 'row' }, nodeSign(node), h('span', { class: 'mono' }, node.name)),
    h('td', {}, ROLES[node.role] ?? node.role),
    h('td', { class: 'mono', 'data-label': 'timeline' }, node.timeline ?? '–'),
    h('td', { class: 'mono dim' }, node.lsn ?? '–'),
    h('td', { class: 'figure' }, node.health === 'silent' ? 'silent' : lag(node)),
  );
}

/** @param {RegionView['keeper']} keeper */
function keeperSays(keeper) {
  switch (keeper.kind) {
    case 'none':
      return null;
    case 'silent':
      return fact(
        'keeper',
        h('span', { class: 'warn' }, sign('warn'), `does not answer: ${keeper.why}`),
      );
    case 'says': {
      const words = [`${keeper.primary} leads`];
      if (keeper.alone) words.push('alone, without a standby');
      if (keeper.pending !== null) words.push(keeper.why ?? keeper.pending);
      const troubled = keeper.alone || keeper.pending !== null;
      return fact(
        'keeper',
        h('span', troubled ? { class: 'warn' } : {}, troubled && sign('warn'), words.join('; ')),
      );
    }
  }
}

/**
 * @param {RegionView} region
 * @param {ConsoleState} state
 */
function copies({ id }, { links }) {
  const here = links.filter(({ kind, to }) => kind === 'mirror' && to === id);
  if (here.length === 0) return null;
  const says = here.map(({ from, ms: age, health }) =>
    h(
      'span',
      { class: `copy ${health}`, 'data-key': from },
      health === 'broken' && sign('bad'),
      health === 'slow' && sign('warn'),
      `${from} ${health === 'broken' ? 'stopped' : age === null ? 'of unknown age' : `${ms(age)} old`}`,
    ),
  );
  return fact('copies here', says);
}

/**
 * @param {string} name
 * @param {import('./draw.js').Child} what
 */
function fact(name, what) {
  return h('div', { 'data-key': name }, h('dt', {}, name), h('dd', {}, what));
}
