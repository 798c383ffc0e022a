/**
 * Which links does a system have, and which of them does a fault mean?
 *
 * A local world names its proxies `<who>-to-<what>`. What stands at each end follows from the
 * catalogue; which node is the primary is told by whoever asks.
 */
import type { Catalogue, RegionId } from '../../regions/catalogue.ts';
import type { LinkChoice, Place, Role } from './fault.ts';

/** Who stands at one end: a process, or all of a kind in a region. */
export type End = {
  region: RegionId;
  kind: 'edge' | 'keeper' | 'airlock' | 'node' | 'region';
  /** Undefined where several share the link. */
  name?: string;
};
export type Link = { name: string; from: End; to: End };
export type Primaries = ReadonlyMap<RegionId, string>;

/** Those of the names that are links of this catalogue. */
export function linksOf(catalogue: Catalogue, proxies: Iterable<string>): Link[] {
  const ends = endsOf(catalogue);
  const links: Link[] = [];
  for (const name of proxies) {
    // Names hold hyphens, so every place where it could be cut is tried.
    for (let at = name.indexOf('-to-'); at >= 0; at = name.indexOf('-to-', at + 1)) {
      const from = ends.who.get(name.slice(0, at));
      const to = ends.what.get(name.slice(at + 4));
      if (from === undefined || to === undefined) continue;
      links.push({ name, from, to });
      break;
    }
  }
  return links;
}

export function chooseLinks(
  links: readonly Link[],
  { from, to, bothWays }: LinkChoice,
  primaries: Primaries,
): Link[] {
  const leads = (link: Link, a: Place | undefined, b: Place | undefined) =>
    isAt(link.from, a, primaries) && isAt(link.to, b, primaries) && !isInside(link, a, b);
  return links.filter(
    (link) => leads(link, from, to) || (bothWays === true && leads(link, to, from)),
  );
}

/** "Between eu and all others" means other regions, not the links inside eu. */
function isInside({ from, to }: Link, a: Place | undefined, b: Place | undefined): boolean {
  const isWhole = (place: Place | undefined) =>
    place !== undefined && 'region' in place && place.role === undefined;
  return (
    from.region === to.region && (isWhole(a) || isWhole(b)) && (a === undefined || b === undefined)
  );
}

function isAt(end: End, place: Place | undefined, primaries: Primaries): boolean {
  if (place === undefined) return true;
  if ('name' in place) return end.name === place.name;
  if (end.region !== place.region) return false;
  return place.role === undefined || hasRole(end, place.role, primaries);
}

function hasRole({ kind, name, region }: End, role: Role, primaries: Primaries): boolean {
  switch (role) {
    case 'primary':
      return kind === 'node' && name === primaries.get(region);
    case 'replica':
      return kind === 'node' && name !== primaries.get(region);
    case 'edge':
      // What leaves a region comes from its edges, or from the primary of the moment.
      return kind === 'edge' || kind === 'region';
    default:
      return kind === role;
  }
}

function endsOf({ regions }: Catalogue): {
  who: ReadonlyMap<string, End>;
  what: ReadonlyMap<string, End>;
} {
  const who = new Map<string, End>();
  const what = new Map<string, End>();
  for (const { id: region, edges, nodes, airlocks } of regions.values()) {
    who.set(region, { region, kind: 'region' });
    who.set(`edges-${region}`, { region, kind: 'edge' });
    who.set(`feed-${region}`, { region, kind: 'airlock' });
    const keeper: End = { region, kind: 'keeper', name: `keeper-${region}` };
    who.set(`keeper-${region}`, keeper);
    what.set(`keeper-${region}`, keeper);
    for (const { name } of edges) what.set(name, { region, kind: 'edge', name });
    for (const { name } of airlocks) what.set(name, { region, kind: 'airlock', name });
    for (const { name } of nodes) {
      who.set(name, { region, kind: 'node', name });
      what.set(name, { region, kind: 'node', name });
    }
  }
  return { who, what };
}
