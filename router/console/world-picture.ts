/**
 * How do all regions do, as far as this edge can learn?
 *
 * Its own region it sees; the edges of the others are asked, each for itself, so that one that does
 * not answer costs the picture of its own region and nothing else. Nobody is asked while nobody
 * looks.
 */
import type { RegionId } from '../../regions/catalogue.ts';
import { roundTripMs, siteOf } from '../../regions/catalogue.ts';
import type { Edge } from '../edge.ts';
import type { ConsoleState, ExperimentView, LinkView, RegionView } from './console-state.ts';
import { placesOf } from './places.ts';
import { type RegionLooker, type RegionPicture, unseenNode } from './region-picture.ts';
import { whyInWords } from './why-in-words.ts';

/** Longer than the longest way around the world and back, and than a busy edge takes. */
const ASK_MS_MAX = 1_000;
/** A console that was just opened waits this long for the peers before it shows them silent. */
const FIRST_MS = 1_000;
/** What is shown of a peer that answers is younger than this. */
const PEER_MS_MAX = 3_000;

/** A hop that takes so much longer than its distance is a slow one. */
const SLOW_FACTOR = 3;
const SLOW_MS_MIN = 100;

type Peer = {
  region: RegionId;
  picture: RegionPicture | undefined;
  roundTripMs: number;
  heardAtMs: number;
  /** When it was last found to answer, or not to. */
  knownAtMs: number;
  /** Since when there is no answer: of the first question that had none. */
  silentSinceMs: number | undefined;
  why: string;
  asking: Promise<void> | undefined;
};

/** All of a state but who looks at it. */
export type WorldPicture = Omit<ConsoleState, 'operator'>;

export class WorldLooker {
  #edge: Edge;
  #here: RegionLooker;
  #version: string;
  #startedAtMs: number;
  #wallClock: () => number;
  #peers: Peer[];

  constructor(
    edge: Edge,
    here: RegionLooker,
    about: { version: string; startedAtMs: number; wallClock: () => number },
  ) {
    this.#edge = edge;
    this.#here = here;
    this.#version = about.version;
    this.#startedAtMs = about.startedAtMs;
    this.#wallClock = about.wallClock;
    this.#peers = [...edge.catalogue.regions.keys()]
      .filter((id) => id !== edge.here)
      .map((region) => ({
        region,
        picture: undefined,
        roundTripMs: 0,
        heardAtMs: Number.NEGATIVE_INFINITY,
        knownAtMs: Number.NEGATIVE_INFINITY,
        silentSinceMs: undefined,
        why: 'it has not answered yet',
        asking: undefined,
      }));
  }

  async look(): Promise<WorldPicture> {
    const edge = this.#edge;
    const asked = this.#peers.map((peer) => this.#ask(peer));
    const nowMs = edge.now();
    const unknown = this.#peers.some(({ knownAtMs }) => nowMs - knownAtMs > PEER_MS_MAX);
    if (unknown) await Promise.race([Promise.all(asked), later(FIRST_MS)]);
    return this.#picture(await this.#here.look());
  }

  #picture(own: RegionPicture): WorldPicture {
    const edge = this.#edge;
    const nowMs = edge.now();
    const { version, sha256, source } = edge.policies.current;
    const answering = this.#peers.flatMap((peer) =>
      this.#answers(peer, nowMs) && peer.picture !== undefined ? [peer.picture] : [],
    );
    // What has happened stays true, whoever is silent by now.
    const told = [own, ...this.#peers.flatMap(({ picture }) => picture ?? [])];
    return {
      atMs: this.#wallClock(),
      edge: { region: edge.here, version: this.#version, startedAtMs: this.#startedAtMs },
      telemetry: edge.telemetry === undefined ? 'off' : 'on',
      policy: {
        version,
        sha256,
        source,
        drift: answering.flatMap(({ region, policy }) =>
          policy.version === version && policy.sha256 === sha256 ? [] : [{ region, ...policy }],
        ),
      },
      regions: this.#regions(own, nowMs),
      links: [...this.#ownLinks(own, nowMs), ...answering.flatMap(({ links }) => links)],
      failovers: told
        .flatMap(({ failovers }) => failovers)
        .sort((a, b) => b.at.localeCompare(a.at) || b.version - a.version),
      experiments: newestOf(told.flatMap(({ experiments }) => experiments)),
    };
  }

  #regions(own: RegionPicture, nowMs: number): RegionView[] {
    const { catalogue, here } = this.#edge;
    const places = placesOf(catalogue);
    return [...catalogue.regions.values()].map((region): RegionView => {
      const place = places.get(region.id) ?? { latitude: 0, longitude: 0 };
      const about = { id: region.id, title: region.title, place };
      if (region.id === here) {
        const edge = { kind: 'here', roundTripMs: 0, ...saysOf(own) } as const;
        return { ...about, edge, nodes: own.nodes, keeper: own.keeper };
      }
      const peer = this.#peers.find((one) => one.region === region.id);
      if (peer?.picture !== undefined && this.#answers(peer, nowMs)) {
        const { nodes, keeper } = peer.picture;
        const { roundTripMs } = peer;
        const edge = { kind: 'answers', roundTripMs, ...saysOf(peer.picture) } as const;
        return { ...about, edge, nodes, keeper };
      }
      const forMs = Math.round(nowMs - (peer?.silentSinceMs ?? nowMs));
      const why = peer?.why ?? '';
      return {
        ...about,
        edge: { kind: 'silent', forMs, why },
        nodes: region.nodes.map(({ name }) =>
          unseenNode(name, siteOf(region, name) ?? region.id, 'unknown'),
        ),
        keeper: { kind: 'silent', why: 'no edge of its region answers' },
      };
    });
  }

  /** The hops of this edge are measured: by the questions themselves. */
  #ownLinks(own: RegionPicture, nowMs: number): LinkView[] {
    return own.links.map((link) => {
      if (link.kind !== 'hop') return link;
      const peer = this.#peers.find(({ region }) => region === link.to);
      if (peer === undefined || !this.#answers(peer, nowMs)) return { ...link, health: 'broken' };
      const usualMs = roundTripMs(this.#edge.catalogue, link.from, link.to);
      const slowMs = SLOW_MS_MIN + (Number.isFinite(usualMs) ? usualMs * SLOW_FACTOR : 0);
      const isSlow = link.health === 'well' && peer.roundTripMs > slowMs;
      return { ...link, health: isSlow ? 'slow' : link.health, ms: peer.roundTripMs };
    });
  }

  #answers({ silentSinceMs, heardAtMs }: Peer, nowMs: number): boolean {
    return silentSinceMs === undefined && nowMs - heardAtMs <= PEER_MS_MAX;
  }

  #ask(peer: Peer): Promise<void> {
    peer.asking ??= this.#askNow(peer).finally(() => {
      peer.asking = undefined;
    });
    return peer.asking;
  }

  async #askNow(peer: Peer): Promise<void> {
    const askedAtMs = this.#edge.now();
    const silent = (why: string) => {
      const { heardAtMs } = peer;
      // A console that was closed for an hour says nothing about that hour.
      peer.silentSinceMs ??= askedAtMs - heardAtMs > PEER_MS_MAX ? askedAtMs : heardAtMs;
      peer.why = why;
      peer.knownAtMs = this.#edge.now();
    };
    try {
      const answer = await this.#edge.pictureOf(peer.region, ASK_MS_MAX);
      if (answer.status !== 200) return silent(`it answers with status ${answer.status}`);
      if (!isPicture(answer.body, peer.region)) return silent('its edge is of another version');
      peer.picture = answer.body;
      peer.heardAtMs = this.#edge.now();
      peer.knownAtMs = peer.heardAtMs;
      const travelledMs = peer.heardAtMs - askedAtMs - answer.body.tookMs;
      peer.roundTripMs = Math.round(Math.max(0, travelledMs) * 10) / 10;
      peer.silentSinceMs = undefined;
    } catch (error) {
      silent(whyInWords(error));
    }
  }
}

function saysOf({ traffic, telemetry, operatorsBrokenForMs }: RegionPicture) {
  return { traffic, telemetry, operatorsBrokenForMs };
}

/** Edges of two versions may run beside each other for a while. */
function isPicture(body: unknown, region: RegionId): body is RegionPicture {
  const told = body as Partial<RegionPicture> | null | undefined;
  const lists = [told?.nodes, told?.links, told?.failovers, told?.experiments];
  const isWhole =
    told?.traffic !== undefined && told.keeper !== undefined && typeof told.tookMs === 'number';
  return told?.region === region && isWhole && lists.every(Array.isArray);
}

/** The same experiment may have been announced to several edges. */
function newestOf(views: readonly ExperimentView[]) {
  const byId = new Map<string, ExperimentView>();
  for (const view of views) {
    const known = byId.get(view.id);
    if (known === undefined || knowsMore(view, known)) byId.set(view.id, view);
  }
  return [...byId.values()].sort((a, b) => b.startedAtMs - a.startedAtMs);
}

/** An edge that was broken meanwhile has missed something. */
function knowsMore(a: ExperimentView, b: ExperimentView): boolean {
  const known = ({ faults, endedAtMs }: ExperimentView) => [
    endedAtMs === null ? 0 : 1,
    faults.length,
    faults.filter(({ toMs }) => toMs !== null).length,
  ];
  const [one, other] = [known(a), known(b)];
  const at = one.findIndex((n, i) => n !== other[i]);
  return at >= 0 && (one[at] ?? 0) > (other[at] ?? 0);
}

function later(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms).unref());
}
