/**
 * How does one region do, as its own edge sees it?
 *
 * What a console shows of its region and what its edge tells the consoles of others are the same.
 * Nodes are what was seen of them; the keeper is asked while somebody looks, and its answer may be
 * a second old.
 */
import * as z from 'zod';
import { SIGHTING_AGE_MS_MAX } from '../../policies/place-read.ts';
import { type RegionNode, siteOf } from '../../regions/catalogue.ts';
import { formatLsn } from '../../regions/position.ts';
import type { Sighting } from '../../regions/sighting.ts';
import type { Edge } from '../edge.ts';
import { eventText, type Recorded } from '../keeper/event-text.ts';
import type {
  ExperimentView,
  FailoverView,
  LinkView,
  NodeView,
  RegionView,
  Traffic,
} from './console-state.ts';
import type { Experiments } from './experiments.ts';
import type { TrafficCounter } from './traffic.ts';

/** What an edge tells the console of another region. */
export type RegionPicture = {
  region: string;
  /** How long the edge took for it, so that the way there can be told from it. */
  tookMs: number;
  policy: { version: number; sha256: string };
  traffic: Traffic;
  nodes: readonly NodeView[];
  keeper: RegionView['keeper'];
  links: readonly LinkView[];
  failovers: readonly FailoverView[];
  experiments: readonly ExperimentView[];
  /** Whether its edge records traces; undefined: it does not say. */
  telemetry?: 'on' | 'off';
  /** For how long nobody can be let in or kept out by its operators file; null where all is well. */
  operatorsBrokenForMs?: number | null;
};

/** A keeper is asked again when its answer is as old as this. */
const KEEPER_EVERY_MS = 900;
const KEEPER_MS_MAX = 800;
/** Whoever opens a console is not shown a keeper that was not asked yet, if it answers so soon. */
const KEEPER_FIRST_MS = 300;
/** How many versions of its record are shown. */
const HISTORY_MAX = 20;

/** Mirrors follow four pulses a second; what is older than this is late, then broken. */
const MIRROR_SLOW_MS = 2_000;
const MIRROR_BROKEN_MS = 10_000;

const Status = z.object({
  region: z.string(),
  record: z
    .object({
      version: z.int(),
      primary: z.string(),
      timeline: z.int(),
      pending: z.looseObject({ kind: z.string() }).nullable(),
    })
    .optional(),
  isAlone: z.boolean(),
  why: z.string().optional(),
});
const History = z.array(
  z.object({
    version: z.int(),
    primary: z.string(),
    timeline: z.int(),
    standbys: z.array(z.string()),
    at: z.string(),
    event: z.looseObject({ kind: z.string() }),
  }),
);

const NO_TRAFFIC: Traffic = { seconds: 0, decisions: {}, latency: null, rungs: {}, refusals: {} };

export type RegionLookerOptions = {
  edge: Edge;
  /** Undefined where this edge has no console of its own. */
  traffic: TrafficCounter | undefined;
  experiments: Experiments;
  /** Since when the operators file is not one, in milliseconds since the epoch. */
  operatorsBrokenSinceMs: () => number | undefined;
  /** Milliseconds since the epoch. */
  wallClock: () => number;
};

export class RegionLooker {
  #edge: Edge;
  #traffic: TrafficCounter | undefined;
  #experiments: Experiments;
  #wallClock: () => number;
  #operatorsBrokenSinceMs: () => number | undefined;
  #keeper: RegionView['keeper'];
  #failovers: readonly FailoverView[] = [];
  #recordVersion = -1;
  #askedAtMs = Number.NEGATIVE_INFINITY;
  #asking: Promise<void> | undefined;

  constructor(options: RegionLookerOptions) {
    const { edge, traffic, experiments, operatorsBrokenSinceMs, wallClock } = options;
    this.#edge = edge;
    this.#operatorsBrokenSinceMs = operatorsBrokenSinceMs;
    this.#traffic = traffic;
    this.#experiments = experiments;
    this.#wallClock = wallClock;
    this.#keeper =
      this.#keeperUrl() === undefined
        ? { kind: 'none' }
        : { kind: 'silent', why: 'it has not answered yet' };
  }

  async look(): Promise<RegionPicture> {
    const edge = this.#edge;
    const beganAtMs = edge.now();
    await this.#hearKeeper();
    const nowMs = edge.now();
    const { version, sha256 } = edge.policies.current;
    const nodes = nodesOf(edge, nowMs);
    const brokenSinceMs = this.#operatorsBrokenSinceMs();
    return {
      region: edge.here,
      tookMs: nowMs - beganAtMs,
      policy: { version, sha256 },
      traffic: this.#traffic?.read(nowMs) ?? NO_TRAFFIC,
      nodes,
      keeper: this.#keeper,
      links: [...replicationLinks(nodes), ...mirrorLinks(edge, nowMs), ...hopLinks(edge)],
      failovers: this.#failovers,
      experiments: this.#experiments.views(this.#wallClock()),
      telemetry: edge.telemetry === undefined ? 'off' : 'on',
      operatorsBrokenForMs: brokenSinceMs === undefined ? null : this.#wallClock() - brokenSinceMs,
    };
  }

  #keeperUrl(): string | undefined {
    return this.#edge.catalogue.regions.get(this.#edge.here)?.keeper?.url;
  }

  async #hearKeeper(): Promise<void> {
    const url = this.#keeperUrl();
    if (url === undefined) return;
    const ageMs = this.#edge.now() - this.#askedAtMs;
    if (ageMs >= KEEPER_EVERY_MS && this.#asking === undefined) {
      this.#askedAtMs = this.#edge.now();
      this.#asking = this.#askKeeper(url).finally(() => {
        this.#asking = undefined;
      });
    }
    if (this.#asking === undefined) return;
    // What is known is a second old at most while somebody looks; nobody waits for a silent keeper.
    const isFresh = ageMs < 2 * KEEPER_EVERY_MS;
    if (!isFresh) await Promise.race([this.#asking, later(KEEPER_FIRST_MS)]);
  }

  async #askKeeper(url: string): Promise<void> {
    const { peers, here } = this.#edge;
    const status = Status.safeParse(await peers.askNear(`${url}/status`, KEEPER_MS_MAX));
    if (!status.success || status.data.region !== here) {
      this.#keeper = { kind: 'silent', why: 'it does not answer' };
      return;
    }
    const { record, isAlone, why } = status.data;
    if (record === undefined) {
      this.#keeper = { kind: 'silent', why: 'it has recorded nothing yet' };
      return;
    }
    const { primary, version, pending } = record;
    this.#keeper = {
      kind: 'says',
      primary,
      alone: isAlone,
      pending: pending?.kind ?? null,
      why: why ?? null,
    };
    if (version !== this.#recordVersion) await this.#readHistory(url, version);
  }

  async #readHistory(url: string, version: number): Promise<void> {
    const { peers, here } = this.#edge;
    const asked = `${url}/history?count=${HISTORY_MAX}`;
    const history = History.safeParse(await peers.askNear(asked, KEEPER_MS_MAX));
    if (!history.success) return;
    this.#recordVersion = version;
    this.#failovers = history.data.reverse().map((record) => ({
      region: here,
      at: record.at,
      version: record.version,
      what: sentence(record),
      primary: record.primary,
      timeline: record.timeline,
    }));
  }
}

/** A keeper of another version may know events that this one does not. */
function sentence(record: z.infer<typeof History>[number]): string {
  const text: string | undefined = eventText(record as Recorded);
  return text === undefined ? `The keeper recorded "${record.event.kind}".` : `${capital(text)}.`;
}

/** Names of nodes stay as they are. */
function capital(text: string): string {
  return /^[a-z]+ /.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
}

function later(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms).unref());
}

function nodesOf({ catalogue, here, sightings }: Edge, nowMs: number): NodeView[] {
  const region = catalogue.regions.get(here);
  if (region === undefined) return [];
  const primary = [...sightings.all()].find(
    (seen) => seen.role === 'primary' && !sightings.isSuperseded(seen.at),
  );
  return region.nodes.map((node: RegionNode) => {
    const seen = sightings.of(node.name);
    const site = siteOf(region, node.name) ?? here;
    if (seen === undefined) return unseenNode(node.name, site);
    const seenMsAgo = Math.round(nowMs - seen.seenAtMs);
    const isSilent = seenMsAgo > SIGHTING_AGE_MS_MAX;
    const isReplaced = seen.role === 'primary' && sightings.isSuperseded(seen.at);
    return {
      name: node.name,
      site,
      health: isSilent ? 'silent' : seen.keepsUp ? 'serves' : 'lags',
      role: isReplaced ? 'replaced' : seen.role,
      timeline: seen.at.timeline,
      lsn: formatLsn(seen.at.lsn),
      lagBytes: isSilent ? null : lagBytes(seen, primary),
      ageMs: ageMs(seen, nowMs),
      seenMsAgo,
    };
  });
}

/** Of a node that nothing is known of. */
export function unseenNode(name: string, site: string, health: 'silent' | 'unknown' = 'silent') {
  const role = 'unknown' as const;
  const nothing = { timeline: null, lsn: null, lagBytes: null, ageMs: null, seenMsAgo: null };
  return { name, site, health, role, ...nothing };
}

function lagBytes(seen: Sighting, primary: Sighting | undefined): number | null {
  if (seen.role === 'primary') return 0;
  if (primary === undefined) return null;
  const { systemId, timeline, lsn } = primary.at;
  if (systemId !== seen.at.systemId || timeline !== seen.at.timeline) return null;
  return Number(lsn > seen.at.lsn ? lsn - seen.at.lsn : 0n);
}

function ageMs({ role, freshAsOfMs }: Sighting, nowMs: number): number | null {
  if (role === 'primary') return 0;
  return freshAsOfMs === undefined ? null : Math.max(0, Math.round(nowMs - freshAsOfMs));
}

function replicationLinks(nodes: readonly NodeView[]): LinkView[] {
  const primary = nodes.find(({ role, health }) => role === 'primary' && health !== 'silent');
  if (primary === undefined) return [];
  return nodes
    .filter(({ name }) => name !== primary.name)
    .map(({ name, health, role, ageMs }) => ({
      kind: 'replication',
      from: primary.name,
      to: name,
      health:
        health === 'silent' || role !== 'replica' ? 'broken' : health === 'lags' ? 'slow' : 'well',
      ms: ageMs,
    }));
}

function mirrorLinks({ catalogue, here, sightings }: Edge, nowMs: number): LinkView[] {
  return [...catalogue.regions.keys()]
    .filter((id) => id !== here)
    .map((from) => {
      const seen = sightings.mirrorOf(from);
      const link = { kind: 'mirror', from, to: here } as const;
      if (seen === undefined) return { ...link, health: 'unknown', ms: null };
      const ms = Math.round(seen.ageMs + nowMs - seen.seenAtMs);
      const health = ms > MIRROR_BROKEN_MS ? 'broken' : ms > MIRROR_SLOW_MS ? 'slow' : 'well';
      return { ...link, health, ms };
    });
}

function hopLinks({ here, peers }: Edge): LinkView[] {
  return Object.entries(peers.stats()).map(([to, { edges }]) => {
    const closed = edges.filter(({ circuit }) => circuit === 'closed').length;
    const health = closed === edges.length ? 'well' : closed > 0 ? 'slow' : 'broken';
    return { kind: 'hop', from: here, to, health, ms: null };
  });
}
