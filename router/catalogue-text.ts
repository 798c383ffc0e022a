/**
 * How is a catalogue written down again?
 *
 * The file form, for processes that are handed the regions as they are reached from their place.
 */
import type { Catalogue, Region } from '../regions/catalogue.ts';

/** The file form of a catalogue. JSON is YAML. */
export function catalogueText({ regions, distances }: Catalogue): string {
  const file = {
    version: 1,
    regions: Object.fromEntries([...regions].map(([id, region]) => [id, regionFile(region)])),
    distances,
  };
  return `${JSON.stringify(file, null, 2)}\n`;
}

function regionFile({ id: _id, airlocks, nodes, ...rest }: Region): object {
  // The file says it of the region only.
  const region = { ...rest, nodes: nodes.map(({ tls: _tls, ...node }) => node) };
  const written = airlocks.map(({ peers, tls: _tls, ...airlock }) => ({ ...airlock, for: peers }));
  const [first] = airlocks;
  if (first !== undefined && first.peers.length > 0) return { ...region, airlocks: written };
  // A region without peers cannot name any; only the short form says so.
  return { ...region, airlock: { ...written[0], for: undefined } };
}
