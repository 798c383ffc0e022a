/**
 * Which shape says it without colour?
 *
 * Small drawings: how a node is and what it does, how grave a notice is.
 */
import { h } from './draw.js';

/** @type {Readonly<Record<string, string>>} */
const PATHS = {
  well: 'M3 8.5l3.2 3.2L13 4.8',
  bad: 'M4 4l8 8M12 4l-8 8',
  warn: 'M8 3v6M8 12v.6',
  note: 'M8 7v6M8 3.4v.6',
};

/**
 * @param {string} severity
 */
export function sign(severity) {
  return h(
    'svg',
    {
      class: `sign ${severity}`,
      viewBox: '0 0 16 16',
      width: 16,
      height: 16,
      'aria-hidden': 'true',
    },
    h('path', { d: PATHS[severity] ?? PATHS.note }),
  );
}

/**
 * A primary is a square, a replica a circle; filled while it serves, half while it lags, crossed out
 * while it is silent, dashed when nobody knows what it does or nothing is sent to it.
 * @param {{ role: string, health: string }} node
 * @param {number} x
 * @param {number} y
 * @param {number} r
 */
export function nodeShape(node, x, y, r) {
  const { role } = node;
  const health = looksLike(node);
  const name = `node ${health}`;
  const parts = [];
  if (role === 'primary' || role === 'replaced') {
    const side = r * 1.8;
    parts.push(
      h('rect', {
        class: 'body',
        x: x - side / 2,
        y: y - side / 2,
        width: side,
        height: side,
        rx: 1.5,
      }),
    );
  } else parts.push(h('circle', { class: 'body', cx: x, cy: y, r }));
  if (health === 'lags')
    parts.push(
      h('path', {
        class: 'half',
        d: `M${x} ${y - r * 0.8}A${r * 0.8} ${r * 0.8} 0 0 1 ${x} ${y + r * 0.8}Z`,
      }),
    );
  if (health === 'silent') {
    const d = r * 0.9;
    parts.push(
      h('path', {
        class: 'cross',
        d: `M${x - d} ${y - d}L${x + d} ${y + d}M${x + d} ${y - d}L${x - d} ${y + d}`,
      }),
    );
  }
  return h('g', { class: name }, parts);
}

/**
 * Only a node whose part is known can play it well.
 * @param {{ role: string, health: string }} node
 */
export function looksLike({ role, health }) {
  return health !== 'silent' && (role === 'replaced' || role === 'unknown') ? 'unknown' : health;
}

/**
 * @param {{ role: string, health: string }} node
 */
export function nodeSign(node) {
  return h(
    'svg',
    { class: 'node-sign', viewBox: '0 0 16 16', width: 16, height: 16, 'aria-hidden': 'true' },
    nodeShape(node, 8, 8, 5.5),
  );
}
