/**
 * How is a fault done to a running system, undone, and shown to have been done?
 *
 * Whatever has begun is written down here until it is undone, so that nothing is left behind,
 * whenever a run ends. Faults may overlap: a link that two have cut opens with the second one's end.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { commandOf } from '../../regions/local/process-identity.ts';
import type { NewToxic, ToxicStream } from '../../regions/toxiproxy.ts';
import { ChaosError, type ChaosWorld } from '../world.ts';
import {
  type Direction,
  type Fault,
  faultText,
  type LinkChoice,
  type NetworkFault,
  type Place,
  placeText,
} from './fault.ts';
import { chooseLinks, type Link } from './links.ts';
import { changedPolicy } from './policy-change.ts';
import { ANSWER_MS_MAX, probe } from './probe.ts';
import { isStopped, isThere } from './process-state.ts';

/** A fault that lasts. */
export type Broken = {
  /** What it did to whom, in words; more exact than the fault, which names roles. */
  says: string;
  /** What shows that it was done; undefined: nothing does. */
  evidence: string | undefined;
  heal: () => Promise<void>;
};

/** Names of our toxics, so that those that stand for distances stay. */
const OURS = 'chaos-';
const STREAMS: readonly ToxicStream[] = ['upstream', 'downstream'];
/** The process that replays, by its title; the name of its server may come first. */
const STARTUP = /^postgres: ([\w-]+: )?startup /;
/** The clock looks at its file twenty times a second. */
const CLOCK_MS_MAX = 2_000;
const SIGNAL_MS_MAX = 2_000;
const LOOK_EVERY_MS = 20;

export class Breaking {
  readonly #world: ChaosWorld;
  readonly #healers = new Set<() => Promise<void>>();
  /** By link and by process: how many faults hold it. */
  readonly #cuts = new Map<string, number>();
  readonly #stops = new Map<string, number>();
  #toxics = 0;

  constructor(world: ChaosWorld) {
    this.#world = world;
  }

  /** @throws ChaosError when it cannot be done to this world. */
  async begin(fault: Fault): Promise<Broken> {
    const broken = await this.#begin(fault);
    let isHealed: Promise<void> | undefined;
    const heal = () => {
      isHealed ??= broken.heal().finally(() => this.#healers.delete(heal));
      return isHealed;
    };
    this.#healers.add(heal);
    return { ...broken, heal };
  }

  /** Undoes what lasts; goes on after a failure, and throws the first one in the end. */
  async healAll(): Promise<void> {
    const healed = await Promise.allSettled([...this.#healers].map((heal) => heal()));
    const failure = healed.find((one) => one.status === 'rejected');
    if (failure !== undefined) throw failure.reason;
  }

  async #begin(fault: Fault): Promise<Broken> {
    switch (fault.kind) {
      case 'kill':
        return this.#kill(fault.who, fault.startAgain === true);
      case 'freeze':
        return this.#freeze(fault.who);
      case 'stutter':
        return this.#stutter(fault);
      case 'pause-replay':
        return this.#pauseReplay(fault.region);
      case 'clock':
        return this.#clock(fault.who, fault.byMs);
      case 'switchover':
        return this.#switchover(fault.region);
      case 'policy':
        return this.#policy(fault.change);
      default:
        return this.#network(fault);
    }
  }

  async #network(fault: NetworkFault): Promise<Broken> {
    const links = await this.#links(fault.links);
    const shown = links.find(({ name }) => name.includes('-to-edge')) ?? links[0];
    const before = await this.#probe(shown);
    const heal = await this.#breakLinks(fault, links);
    const evidence = await this.#difference(fault, shown, before);
    const names = links.map(({ name }) => name);
    const which = names.length > 4 ? `${names.length} links` : names.join(', ');
    return { says: `${faultText(fault)} (${which})`, evidence, heal };
  }

  async #breakLinks(fault: NetworkFault, links: readonly Link[]): Promise<() => Promise<void>> {
    const { faults } = this.#world;
    const names = links.map(({ name }) => name);
    const toxics = async (...made: NewToxic[]) => {
      const added: [string, string][] = [];
      const heal = async () => {
        await Promise.all(added.map(([link, toxic]) => faults.removeToxic(link, toxic)));
      };
      try {
        for (const link of names) {
          for (const toxic of made) {
            const name = `${OURS}${++this.#toxics}`;
            await faults.addToxic(link, { ...toxic, name });
            added.push([link, name]);
          }
        }
      } catch (error) {
        await heal();
        throw error;
      }
      return heal;
    };
    const both = (make: (stream: ToxicStream) => NewToxic, direction: Direction = 'both') =>
      toxics(...(direction === 'both' ? STREAMS : [direction]).map(make));
    const hole = (direction?: Direction) =>
      both((stream) => ({ type: 'timeout', stream, attributes: { timeout: 0 } }), direction);
    const cut = async () => {
      await Promise.all(names.map((name) => this.#cut(name)));
      return async () => {
        await Promise.all(names.map((name) => this.#open(name)));
      };
    };
    switch (fault.kind) {
      case 'cut':
        return cut();
      case 'hole':
        return hole(fault.direction);
      case 'slow': {
        const { latencyMs: latency, jitterMs: jitter = 0 } = fault;
        return both((stream) => ({ type: 'latency', stream, attributes: { latency, jitter } }));
      }
      case 'narrow':
        return both(
          (stream) => ({ type: 'bandwidth', stream, attributes: { rate: fault.kBps } }),
          fault.direction,
        );
      case 'reset':
        return toxics({
          type: 'reset_peer',
          stream: 'downstream',
          attributes: { timeout: fault.afterMs },
        });
      case 'limit':
        return both(
          (stream) => ({ type: 'limit_data', stream, attributes: { bytes: fault.bytes } }),
          fault.direction ?? 'downstream',
        );
      case 'slice':
        return both((stream) => ({
          type: 'slicer',
          stream,
          attributes: {
            average_size: fault.bytes,
            size_variation: Math.floor(fault.bytes / 2),
            delay: fault.delayUs,
          },
        }));
      case 'flap':
        return repeated(fault.downMs, fault.upMs, fault.how === 'cut' ? cut : () => hole());
    }
  }

  async #cut(link: string): Promise<void> {
    const held = this.#cuts.get(link) ?? 0;
    this.#cuts.set(link, held + 1);
    if (held === 0) await this.#world.faults.disable(link);
  }

  async #open(link: string): Promise<void> {
    const held = (this.#cuts.get(link) ?? 1) - 1;
    this.#cuts.set(link, held);
    if (held === 0) await this.#world.faults.enable(link);
  }

  async #links(choice: LinkChoice): Promise<Link[]> {
    const chosen = chooseLinks(this.#world.links, choice, await this.#world.primaries());
    if (chosen.length === 0)
      throw new ChaosError(`no link of this world is ${JSON.stringify(choice)}`);
    return chosen;
  }

  async #probe(link: Link | undefined, lateMs = 0) {
    if (link === undefined) return undefined;
    const { listen } = await this.#world.faults.proxy(link.name);
    const { kind } = link.to;
    const protocol = kind === 'edge' || kind === 'keeper' ? 'http' : 'postgres';
    return probe(listen, protocol, ANSWER_MS_MAX + lateMs);
  }

  async #difference(
    fault: NetworkFault,
    link: Link | undefined,
    before: Awaited<ReturnType<typeof probe>> | undefined,
  ): Promise<string | undefined> {
    const { kind } = fault;
    const lateMs = kind === 'slow' ? 2 * (fault.latencyMs + (fault.jitterMs ?? 0)) : 0;
    const after = await this.#probe(link, lateMs);
    if (link === undefined || before === undefined || after === undefined) return undefined;
    const told = `${link.name}: ${before.says} before, ${after.says} now`;
    if (fault.kind === 'slow') {
      // There and back, and no jitter makes up for that. Whoever says nothing is not slow.
      const isLate = after.ms >= 2 * (fault.latencyMs - (fault.jitterMs ?? 0));
      return after.kind === 'answered' && isLate ? told : undefined;
    }
    // A small answer passes these as it is; whether anybody felt them is for the run to show.
    if (kind === 'narrow' || kind === 'limit' || kind === 'slice' || kind === 'reset') {
      const { toxics } = await this.#world.faults.proxy(link.name);
      const ours = toxics.filter(({ name }) => name.startsWith(OURS)).map(({ type }) => type);
      return ours.length === 0 ? undefined : `${link.name} has ${ours.join(', ')}`;
    }
    // A flapping link may be up at the moment; a later round shows it.
    if (kind === 'flap') return told;
    return after.kind === before.kind ? undefined : told;
  }

  /** Names of the processes that a place means, at least one. */
  async #named(place: Place): Promise<string[]> {
    if ('name' in place) return [place.name];
    const { region, role } = place;
    const processes = await this.#world.processes();
    const first = (await this.#world.primaries()).get(region);
    const found = processes.filter((one) => {
      if (one.region !== region) return false;
      if (role === undefined) return true;
      if (role === 'primary') return one.name === first;
      if (role === 'replica') return one.kind === 'node' && one.name !== first;
      return one.kind === role;
    });
    if (found.length === 0) throw new ChaosError(`this world has no ${placeText(place)}`);
    return found.map(({ name }) => name);
  }

  async #kill(who: Place, startAgain: boolean): Promise<Broken> {
    const names = await this.#named(who);
    const pids = (await Promise.all(names.map((name) => this.#world.pidsOf(name)))).flat();
    for (const pid of pids) signal(pid, 'SIGKILL');
    const gone = await within(SIGNAL_MS_MAX, () => pids.every((pid) => !isThere(pid)));
    await this.#untilNoticed(pids);
    const keepers = new Set(
      [...this.#world.catalogue.regions.values()]
        .filter(({ keeper }) => keeper !== undefined)
        .flatMap(({ nodes }) => nodes.map(({ name }) => name)),
    );
    return {
      says: `SIGKILL to ${placeText(who)} (${names.join(', ')})`,
      evidence: gone ? `its ${pids.length} processes are gone` : undefined,
      heal: async () => {
        // What a keeper keeps is started by the keeper, as what it is to be.
        for (const name of names) {
          if (startAgain || !keepers.has(name)) await this.#world.start(name);
        }
      },
    };
  }

  /** The supervisor hears of an end a moment later, and starts nothing that it believes to run. */
  async #untilNoticed(pids: readonly number[]): Promise<void> {
    for (const untilMs = performance.now() + SIGNAL_MS_MAX; performance.now() < untilMs; ) {
      const processes = await this.#world.processes();
      if (processes.every(({ pid }) => pid === undefined || !pids.includes(pid))) return;
      await pause(LOOK_EVERY_MS);
    }
  }

  async #freeze(who: Place): Promise<Broken> {
    const names = await this.#named(who);
    const stopped = (await Promise.all(names.map((name) => this.#stop(name)))).flat();
    return {
      says: `SIGSTOP to ${placeText(who)} (${names.join(', ')})`,
      evidence: evidenceOf(stopped),
      heal: async () => {
        await Promise.all(names.map((name) => this.#go(name)));
      },
    };
  }

  async #stutter({ who, stopMs, goMs }: Extract<Fault, { kind: 'stutter' }>): Promise<Broken> {
    const names = await this.#named(who);
    let stopped: number[] = [];
    const heal = await repeated(stopMs, goMs, async () => {
      const now = (await Promise.all(names.map((name) => this.#stop(name)))).flat();
      if (stopped.length === 0) stopped = now;
      return async () => {
        await Promise.all(names.map((name) => this.#go(name)));
      };
    });
    const says = `${placeText(who)} (${names.join(', ')}) stopped ${stopMs} ms of every ${stopMs + goMs} ms`;
    return { says, evidence: evidenceOf(stopped), heal };
  }

  async #pauseReplay(region: string): Promise<Broken> {
    const names = await this.#named({ region, role: 'replica' });
    const pids = (await Promise.all(names.map((name) => this.#world.pidsOf(name)))).flat();
    const replaying = pids.filter((pid) => STARTUP.test(titleOf(pid)));
    for (const pid of replaying) signal(pid, 'SIGSTOP');
    const stopped = await within(SIGNAL_MS_MAX, () => replaying.every(isStopped));
    return {
      says: `replay paused on ${names.join(', ')}`,
      evidence:
        stopped && replaying.length > 0
          ? `process ${replaying.join(', ')}, which replays, is stopped`
          : undefined,
      heal: async () => {
        for (const pid of replaying) signal(pid, 'SIGCONT');
      },
    };
  }

  async #clock(who: Place, byMs: number): Promise<Broken> {
    const { clocks } = this.#world;
    if (clocks === undefined) {
      throw new ChaosError('Clocks are changed only in a world that chaos has started itself.');
    }
    const names = await this.#named(who);
    const set = async (name: string, offsetMs: number): Promise<number | undefined> => {
      const says = join(clocks, `${name}.says`);
      await rm(says, { force: true });
      writeFileSync(join(clocks, name), String(offsetMs));
      await within(CLOCK_MS_MAX, () => textOf(says) !== '');
      const said = textOf(says);
      return said === '' ? undefined : Number(said);
    };
    const told = await Promise.all(names.map((name) => set(name, byMs)));
    const evidence = told.every((ms) => ms !== undefined)
      ? names.map((name, i) => `${name} believes it is ${new Date(told[i] ?? 0).toISOString()}`)
      : [];
    return {
      says: `clock of ${names.join(', ')} ${byMs < 0 ? 'back' : 'forth'} by ${Math.abs(byMs) / 60_000} min`,
      evidence: evidence.length > 0 ? evidence.join('; ') : undefined,
      heal: async () => {
        await Promise.all(names.map((name) => set(name, 0)));
      },
    };
  }

  async #switchover(region: string): Promise<Broken> {
    const before = (await this.#world.primaries()).get(region);
    const { status, said } = await this.#world.domicile(['region', region, 'switchover']);
    const after = (await this.#world.primaries()).get(region);
    return {
      says: `switchover of ${region} from ${before} to ${after}`,
      evidence: status === 0 && before !== after ? said.split('\n')[0] : undefined,
      heal: async () => {},
    };
  }

  async #policy(change: string): Promise<Broken> {
    const { root, policyFile } = this.#world;
    const version = 1 + (await this.#world.policyVersion());
    const file = await changedPolicy({ root, policyFile, change, version });
    const { status, said } = await this.#world.domicile(['policy', 'apply', '--policy', file]);
    return {
      says: status === 0 ? `policy applied: ${change}` : `policy not applied: ${change}: ${said}`,
      evidence: status === 0 ? said.split('\n').at(-1) : undefined,
      heal: async () => {},
    };
  }

  /** Answers with the processes that stand still now. */
  async #stop(name: string): Promise<number[]> {
    const held = this.#stops.get(name) ?? 0;
    this.#stops.set(name, held + 1);
    const sent = new Set<number>();
    // What a server forks before it stands still is in the next list.
    for (;;) {
      const pids = (await this.#world.pidsOf(name)).filter((pid) => !sent.has(pid));
      if (pids.length === 0) return [...sent].filter(isStopped);
      for (const pid of pids) {
        signal(pid, 'SIGSTOP');
        sent.add(pid);
      }
      await within(SIGNAL_MS_MAX, () => pids.every((pid) => isStopped(pid) || !isThere(pid)));
    }
  }

  async #go(name: string): Promise<void> {
    const held = (this.#stops.get(name) ?? 1) - 1;
    this.#stops.set(name, held);
    if (held > 0) return;
    for (const pid of await this.#world.pidsOf(name)) signal(pid, 'SIGCONT');
  }
}

/** Begins at once; `undo` of the last round is part of the end. */
async function repeated(
  onMs: number,
  offMs: number,
  begin: () => Promise<() => Promise<void>>,
): Promise<() => Promise<void>> {
  const ending = new AbortController();
  let undo: (() => Promise<void>) | undefined = await begin();
  let failure: unknown;
  const rest = (ms: number) => pause(ms, undefined, { signal: ending.signal }).catch(() => {});
  const rounds = async () => {
    while (!ending.signal.aborted) {
      await rest(onMs);
      await undo?.();
      undo = undefined;
      await rest(offMs);
      if (!ending.signal.aborted) undo = await begin();
    }
    await undo?.();
  };
  const done = rounds().catch((error: unknown) => {
    failure = error;
  });
  return async () => {
    ending.abort();
    await done;
    if (failure !== undefined) throw failure;
  };
}

function evidenceOf(stopped: readonly number[]): string | undefined {
  return stopped.length === 0 ? undefined : `${stopped.length} processes stand still`;
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    // It ended between the look and the signal.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function within(limitMs: number, is: () => boolean): Promise<boolean> {
  for (const untilMs = performance.now() + limitMs; performance.now() < untilMs; ) {
    if (is()) return true;
    await pause(LOOK_EVERY_MS);
  }
  return is();
}

function titleOf(pid: number): string {
  return commandOf(pid) ?? '';
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
