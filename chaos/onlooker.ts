/**
 * What could be seen of the regions while a run went on?
 *
 * Asks edges for their health and keepers for their record, a few times a second, and notes what
 * changes. For evidence that a fault bit, and for the report; no verdict rests on it.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { RegionId } from '../regions/catalogue.ts';
import type { Incident, Look } from './run-record.ts';
import type { ChaosWorld, Health } from './world.ts';

const LOOK_EVERY_MS = 250;
/** What an edge saw longer ago is no news. */
const SEEN_MS_MAX = 1_000;

export class Onlooker {
  readonly looks: Look[] = [];
  readonly incidents: Incident[] = [];
  /** What edges have counted: `serve;rung=local;level=session`, say. */
  readonly decisions = new Map<string, number>();
  readonly #world: ChaosWorld;
  readonly #now: () => number;
  readonly #last = new Map<RegionId, Look>();
  readonly #policies = new Map<RegionId, number>();
  #running = new Set<string>();
  readonly #ending = new AbortController();
  #done: Promise<unknown> = Promise.resolve();

  constructor(world: ChaosWorld, now: () => number) {
    this.#world = world;
    this.#now = now;
  }

  start(): void {
    const rounds = this.#world.regions.map((region) => this.#rounds(() => this.#look(region)));
    this.#done = Promise.all([...rounds, this.#rounds(() => this.#lookAtProcesses())]);
  }

  async stop(): Promise<void> {
    this.#ending.abort();
    await this.#done;
  }

  async #rounds(look: () => Promise<void>): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted) {
      await look();
      await pause(LOOK_EVERY_MS, undefined, { signal }).catch(() => {});
    }
  }

  async #look(region: RegionId): Promise<void> {
    const atMs = this.#now();
    const [url = ''] = this.#world.edgesOf(region);
    const [record, health] = await Promise.all([
      this.#world.keeper(region),
      this.#world.health(url),
    ]);
    const look: Look = {
      atMs,
      region,
      ...(record !== undefined && { primary: record.primary, timeline: record.timeline }),
      ...(health !== undefined && { alone: health.durability === 'alone' }),
      ...(health !== undefined && { lagBytes: lagOf(health) }),
      ...(health !== undefined && { opened: openedBy(health) }),
      ...(health !== undefined && {
        copyAgeMs: Object.fromEntries(health.mirrors.map((copy) => [copy.region, copy.ageMs])),
      }),
    };
    this.looks.push(look);
    this.#compare(region, look);
    if (health === undefined) return;
    const before = this.#policies.get(region);
    if (before !== undefined && before !== health.policyVersion) {
      this.#note(region, `${region} serves under policy version ${health.policyVersion}`);
    }
    this.#policies.set(region, health.policyVersion);
  }

  #compare(region: RegionId, look: Look): void {
    const before = this.#last.get(region) ?? look;
    if (look.timeline !== undefined && before.timeline !== undefined) {
      if (look.timeline > before.timeline) {
        this.#note(
          region,
          `${look.primary} takes over from ${before.primary}, on timeline ${look.timeline}`,
        );
      }
    }
    if (look.alone !== undefined && before.alone !== undefined && look.alone !== before.alone) {
      this.#note(region, look.alone ? `${region} runs alone` : `commits in ${region} wait again`);
    }
    this.#last.set(region, { ...before, ...look });
  }

  async #lookAtProcesses(): Promise<void> {
    const processes = await this.#world.processes().catch(() => undefined);
    if (processes === undefined) return;
    const isFirst = this.#running.size === 0;
    const running = new Set(
      processes.filter(({ pid }) => pid !== undefined).map(({ name, pid }) => `${name} ${pid}`),
    );
    for (const { name, pid, region } of isFirst ? [] : processes) {
      const known = [...this.#running].find((one) => one.startsWith(`${name} `));
      if (pid === undefined && known !== undefined) this.#note(region, `${name} has ended`);
      if (pid !== undefined && known !== `${name} ${pid}`) this.#note(region, `${name} starts`);
    }
    this.#running = running;
  }

  #note(region: RegionId, says: string): void {
    this.incidents.push({ atMs: this.#now(), region, says });
  }
}

function openedBy({ pools }: Health): number {
  return Object.values(pools).reduce((sum, { opened }) => sum + opened, 0);
}

/** How far each replica is behind what the edge knows of the primary. */
function lagOf({ nodes }: Health): Record<string, number> {
  const fresh = nodes.filter(({ seenMsAgo }) => seenMsAgo <= SEEN_MS_MAX);
  const primary = fresh.find(({ role }) => role === 'primary');
  if (primary === undefined) return {};
  const lags = fresh
    .filter(({ role, timeline }) => role === 'replica' && timeline === primary.timeline)
    .map(({ node, lsn }) => [node, Math.max(0, bytesOf(primary.lsn) - bytesOf(lsn))] as const);
  return Object.fromEntries(lags);
}

/** `16/B374D848`, as a count; a world under chaos writes less than what a number holds exactly. */
function bytesOf(lsn: string): number {
  const [high = '0', low = '0'] = lsn.split('/');
  return Number.parseInt(high, 16) * 2 ** 32 + Number.parseInt(low, 16);
}
