/**
 * Where is it, and what lies between?
 *
 * Regions by longitude and latitude, their nodes beside them, and an arc for each pair that requests
 * go between. Drawn in the pixels that there are, so that words keep their size on a narrow screen.
 */
import { h } from './draw.js';
import { isLand } from './land.js';
import { nodeShape } from './signs.js';
import { ms } from './words.js';

/** @typedef {import('../console-state.ts').ConsoleState} ConsoleState */
/** @typedef {import('../console-state.ts').RegionView} RegionView */
/** @typedef {import('../console-state.ts').LinkView} LinkView */
/** @typedef {{ x: number, y: number }} Point */

/** Around the outermost places, degrees. */
const MARGIN = { longitude: 34, latitude: 24 };
const SPAN_MIN = 70;
const NORTHMOST = 110;
const WORST = ['unknown', 'well', 'slow', 'broken'];

/** @type {{ key: string, path: string }} */
let dots = { key: '', path: '' };

/**
 * @param {ConsoleState} state
 * @param {number} width
 */
export function map(state, width) {
  const narrow = width < 560;
  const height = Math.round(width * (narrow ? 0.56 : 0.42));
  const at = projection(state.regions, width, height);
  const places = new Map(
    state.regions.map((region) => [region.id, at(region.place.longitude, region.place.latitude)]),
  );
  return h(
    'svg',
    {
      class: 'map',
      viewBox: `0 0 ${width} ${height}`,
      height,
      role: 'img',
      'aria-labelledby': 'map-says',
    },
    h('path', { class: 'land', d: land(at, width, height, narrow ? 4 : 2.6) }),
    pairs(state).map((pair) => arc(pair, places, height)),
    state.regions.map((region) =>
      mark(region, places.get(region.id) ?? { x: 0, y: 0 }, state, narrow),
    ),
  );
}

/**
 * @param {readonly RegionView[]} regions
 * @param {number} width
 * @param {number} height
 * @returns {(longitude: number, latitude: number) => Point}
 */
function projection(regions, width, height) {
  const longitudes = regions.map(({ place }) => place.longitude);
  const latitudes = regions.map(({ place }) => place.latitude);
  const [west, east] = [Math.min(...longitudes), Math.max(...longitudes)];
  const [south, north] = [Math.min(...latitudes), Math.max(...latitudes)];
  const ratio = width / height;
  const span = Math.min(
    360,
    Math.max(
      SPAN_MIN,
      east - west + 2 * MARGIN.longitude,
      (north - south + 2 * MARGIN.latitude) * ratio,
    ),
  );
  const perDegree = width / span;
  const left = (west + east) / 2 - span / 2;
  // More room above than below: arcs bend northwards, though nothing lies there.
  const top = Math.min(NORTHMOST, (south + north) / 2 + (height / perDegree) * 0.56);
  return (longitude, latitude) => ({
    x: (longitude - left) * perDegree,
    y: (top - latitude) * perDegree,
  });
}

/**
 * @param {(longitude: number, latitude: number) => Point} at
 * @param {number} width
 * @param {number} height
 * @param {number} step
 */
function land(at, width, height, step) {
  const corner = at(-180, 90);
  const key = `${width} ${height} ${corner.x} ${corner.y} ${step}`;
  if (dots.key === key) return dots.path;
  const parts = [];
  for (let latitude = 84; latitude > -58; latitude -= step) {
    for (let longitude = -180; longitude < 180; longitude += step) {
      if (!isLand(longitude, latitude)) continue;
      const { x, y } = at(longitude, latitude);
      if (x > 0 && x < width && y > 0 && y < height)
        parts.push(`M${x.toFixed(1)} ${y.toFixed(1)}h0`);
    }
  }
  dots = { key, path: parts.join('') };
  return dots.path;
}

/**
 * @typedef {{ from: string, to: string, hop: LinkView | undefined, mirrors: LinkView[] }} Pair
 */

/**
 * The worst that is known of each pair, whichever end said so.
 * @param {ConsoleState} state
 * @returns {Pair[]}
 */
function pairs({ links, regions }) {
  const ids = regions.map(({ id }) => id);
  /** @type {Pair[]} */
  const found = [];
  for (const [index, from] of ids.entries()) {
    for (const to of ids.slice(index + 1)) {
      const between = links.filter(
        (link) => (link.from === from && link.to === to) || (link.from === to && link.to === from),
      );
      const hops = between
        .filter(({ kind }) => kind === 'hop')
        .sort((a, b) => WORST.indexOf(b.health) - WORST.indexOf(a.health));
      const mirrors = between.filter(({ kind }) => kind === 'mirror');
      if (between.length > 0) found.push({ from, to, hop: hops[0], mirrors });
    }
  }
  return found;
}

/**
 * @param {Pair} pair
 * @param {ReadonlyMap<string, Point>} places
 * @param {number} height
 */
function arc({ from, to, hop, mirrors }, places, height) {
  const a = places.get(from) ?? { x: 0, y: 0 };
  const b = places.get(to) ?? { x: 0, y: 0 };
  const long = Math.hypot(b.x - a.x, b.y - a.y);
  const lift = Math.min(long * 0.22, height * 0.36);
  const top = { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 - lift };
  const low = { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 - lift * 0.62 };
  const curve = (/** @type {Point} */ middle) =>
    `M${a.x} ${a.y}Q${2 * middle.x - (a.x + b.x) / 2} ${2 * middle.y - (a.y + b.y) / 2} ${b.x} ${b.y}`;
  const worstMirror = mirrors
    .map(({ health }) => health)
    .sort((one, other) => WORST.indexOf(other) - WORST.indexOf(one))[0];
  const health = hop?.health ?? 'unknown';
  const says = health === 'broken' ? 'cut' : hop?.ms == null ? '' : ms(hop.ms);
  return h(
    'g',
    { 'data-key': `${from}-${to}` },
    worstMirror !== undefined && h('path', { class: `arc mirror ${worstMirror}`, d: curve(low) }),
    hop !== undefined && h('path', { class: `arc hop ${health}`, d: curve(top) }),
    health === 'broken' &&
      h('path', { class: 'cut', d: `M${top.x - 6} ${top.y - 6}l12 12m0 -12l-12 12` }),
    says !== '' &&
      h(
        'text',
        { class: `halo arc-says ${health}`, x: top.x, y: top.y - 8, 'text-anchor': 'middle' },
        says,
      ),
  );
}

/**
 * @param {RegionView} region
 * @param {Point} place
 * @param {ConsoleState} state
 * @param {boolean} narrow
 */
function mark(region, { x, y }, state, narrow) {
  const here = region.id === state.edge.region;
  const silent = region.edge.kind === 'silent';
  const gap = narrow ? 15 : 18;
  const start = x - ((region.nodes.length - 1) * gap) / 2;
  return h(
    'g',
    { 'data-key': region.id, class: silent ? 'place silent' : 'place' },
    here && h('circle', { class: 'here', cx: x, cy: y, r: 12 }),
    h('circle', { class: 'edge', cx: x, cy: y, r: 6.5 }),
    silent && h('path', { class: 'cut', d: `M${x - 9} ${y - 9}l18 18m0 -18l-18 18` }),
    h(
      'text',
      { class: 'halo place-name', x, y: y + 30, 'text-anchor': 'middle' },
      brief(region.id),
    ),
    region.nodes.map((node, index) =>
      nodeShape(node, start + index * gap, y + 45, narrow ? 4.5 : 5.5),
    ),
    !narrow &&
      h(
        'text',
        { class: 'halo place-says', x, y: y + 67, 'text-anchor': 'middle' },
        silent ? 'does not answer' : here ? 'you look from here' : brief(region.title ?? ''),
      ),
  );
}

/**
 * What the drawing shows, for those who do not see it.
 * @param {ConsoleState} state
 */
export function mapInWords(state) {
  return pairs(state)
    .map(({ from, to, hop }) => {
      const how = hop?.health === 'broken' ? 'cut' : hop?.ms == null ? 'not known' : ms(hop.ms);
      return `${from} to ${to}: ${how}.`;
    })
    .join(' ');
}

/** Words on the map do not break. @param {string} text */
function brief(text) {
  return text.length > 24 ? `${text.slice(0, 23)}…` : text;
}
