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
import { FaultsError, type NewToxic, type ToxicStream } from '../../regions/toxiproxy.ts';
import type { AcceptedLoss } from '../history.ts';
import { ChaosError, type ChaosWorld } from '../world.ts';
import {
  clockText,
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

/** A fault that lasts. Whoever heals it and fails may try again: what was undone stays undone. */
export type Broken = {
  /** What it did to whom, in words; more exact than the fault, which names roles. */
  says: string;
  /** What shows that it was done; undefined: nothing does. */
  evidence: string | undefined;
  heal: () => Promise<void>;
  /** What an operator has accepted by it. */
  acceptedLoss?: Pick<AcceptedLoss, 'home' | 'by'>;
};

/** Names of our toxics, so that those that stand for distances stay. */
const OURS = 'chaos-';
const NOT_FOUND = 404;
const STREAMS: readonly ToxicStream[] = ['upstream', 'downstream'];
/** The process that replays, by its title; the name of its server may come first. */
const STARTUP = /^postgres: ([\w-]+: )?startup /;
/** The clock looks at its file twenty times a second. */
const CLOCK_MS_MAX = 2_000;
const SIGNAL_MS_MAX = 2_000;
const LOOK_EVERY_MS = 20;
/** What stands in the way of healing is the moment of another fault, or there to stay. */
const HEAL_TRIES = 5;
const HEAL_PAUSE_MS = 500;

export class Breaking {
  readonly #world: ChaosWorld;
  /** With what each of them undoes, in words. */
  readonly #healers = new Map<() => Promise<void>, string>();
  /** By link and by process: how many faults hold it. */
  readonly #cuts = new Map<string, number>();
  readonly #stops = new Map<string, number>();
  #toxics = 0;

  constructor(world: ChaosWorld) {
    this.#world = world;
  }

  /** @throws Error when it cannot be done to this world; what is left of the attempt is healed with the rest. */
  async begin(fault: Fault): Promise<Broken> {
    const broken = await this.#begin(fault);
    return { ...broken, heal: this.#lasting(broken.heal, broken.says) };
  }

  /**
   * Undoes what lasts, and tries again what does not let itself be undone.
   * @throws ChaosError that names what is left even then.
   */
  async healAll(): Promise<void> {
    for (let tries = 1; ; tries++) {
      const lasting = [...this.#healers];
      const healed = await Promise.allSettled(lasting.map(([heal]) => heal()));
      const left = lasting.flatMap(([, says], i) => {
        const one = healed[i];
        return one?.status === 'rejected' ? [`${says}: ${whyOf(one.reason)}`] : [];
      });
      if (left.length === 0) return;
      if (tries === HEAL_TRIES) throw new ChaosError(`This is not undone: ${left.join('; ')}`);
      await pause(HEAL_PAUSE_MS);
    }
  }

  /** Writes down what lasts, until it is undone: whoever fails to undo it may try again. */
  #lasting(undo: () => Promise<void>, says: string): () => Promise<void> {
    let healing: Promise<void> | undefined;
    const heal = () => {
      healing ??= undo().then(
        () => {
          this.#healers.delete(heal);
        },
        (error: unknown) => {
          healing = undefined;
          throw error;
        },
      );
      return healing;
    };
    this.#healers.set(heal, says);
    return heal;
  }

  /** Does it to each; where that fails for one, it is undone for the others. */
  async #allOrNone<T>(
    items: readonly T[],
    begin: (item: T) => Promise<void>,
    end: (item: T) => Promise<void>,
  ): Promise<() => Promise<void>> {
    const begun = await Promise.allSettled(items.map(begin));
    const done = items.filter((_, i) => begun[i]?.status === 'fulfilled');
    const undo = undoing(done, end);
    const failed = begun.find((one) => one.status === 'rejected');
    if (failed === undefined) return undo;
    // Whoever does not let itself be undone now is not forgotten either.
    await this.#lasting(undo, `a part of what could not be done`)().catch(() => {});
    throw failed.reason;
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
      case 'accept-loss':
        return this.#acceptLoss(fault.region);
      case 'refill':
        return this.#refill(fault.region);
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
    const toxics = (...made: NewToxic[]) =>
      this.#allOrNone(
        names.flatMap((link) =>
          made.map((toxic) => ({ link, toxic: { ...toxic, name: `${OURS}${++this.#toxics}` } })),
        ),
        async ({ link, toxic }) => {
          await faults.addToxic(link, toxic);
        },
        ({ link, toxic }) => this.#removed(link, toxic.name),
      );
    const both = (make: (stream: ToxicStream) => NewToxic, direction: Direction = 'both') =>
      toxics(...(direction === 'both' ? STREAMS : [direction]).map(make));
    const hole = (direction?: Direction) =>
      both((stream) => ({ type: 'timeout', stream, attributes: { timeout: 0 } }), direction);
    const cut = () =>
      this.#allOrNone(
        names,
        (name) => this.#cut(name),
        (name) => this.#open(name),
      );
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
    try {
      if (held === 0) await this.#world.faults.disable(link);
    } catch (error) {
      await this.#open(link).catch(() => {});
      throw error;
    }
  }

  async #open(link: string): Promise<void> {
    const held = (this.#cuts.get(link) ?? 1) - 1;
    this.#cuts.set(link, held);
    try {
      if (held === 0) await this.#world.faults.enable(link);
    } catch (error) {
      this.#cuts.set(link, (this.#cuts.get(link) ?? 0) + 1);
      throw error;
    }
  }

  async #removed(link: string, toxic: string): Promise<void> {
    try {
      await this.#world.faults.removeToxic(link, toxic);
    } catch (error) {
      // Gone already: the answer to an earlier try was lost.
      const { failure } = error instanceof FaultsError ? error : {};
      if (failure?.kind !== 'refused' || failure.status !== NOT_FOUND) throw error;
    }
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
    const { latencyMs = 0, jitterMs = 0 } = kind === 'slow' ? fault : {};
    const ask = () => this.#probe(link, 2 * (latencyMs + jitterMs));
    let after = await ask();
    // There and back, and no jitter makes up for that. Whoever says nothing is not slow.
    const isSlow = () => after?.kind === 'answered' && after.ms >= 2 * (latencyMs - jitterMs);
    // Another fault that begins on the same link lets what is on its way through at once.
    if (kind === 'slow' && !isSlow()) after = await ask();
    if (link === undefined || before === undefined || after === undefined) return undefined;
    const told = `${link.name}: ${before.says} before, ${after.says} now`;
    if (kind === 'slow') return isSlow() ? told : undefined;
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
    const places = await this.#named(who);
    // As in a power cut: nobody sees another one die, and does something about it.
    const found = await Promise.all(
      places.map(async (name) => ({ name, pids: await this.#standStill(name) })),
    );
    const killed = found
      .map(({ name, pids }) => ({ name, pids: pids.filter((pid) => signal(pid, 'SIGKILL')) }))
      .filter(({ pids }) => pids.length > 0);
    const names = killed.map(({ name }) => name);
    const pids = killed.flatMap((one) => one.pids);
    const gone = await within(SIGNAL_MS_MAX, () => pids.every((pid) => !isThere(pid)));
    // Nobody was hurt by not hearing of it; what was killed has to be started again.
    await this.#untilNoticed(pids).catch(() => {});
    const keepers = new Set(
      [...this.#world.catalogue.regions.values()]
        .filter(({ keeper }) => keeper !== undefined)
        .flatMap(({ nodes }) => nodes.map(({ name }) => name)),
    );
    return {
      says: `SIGKILL to ${placeText(who)} (${places.join(', ')})`,
      evidence: gone && pids.length > 0 ? `its ${pids.length} processes are gone` : undefined,
      // What a keeper keeps is started by the keeper, as what it is to be; and what was dead before
      // is for whoever killed it.
      heal: inOrder(
        names.filter((name) => startAgain || !keepers.has(name)),
        (name) => this.#world.start(name),
      ),
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
    const stopped: number[] = [];
    const heal = await this.#allOrNone(
      names,
      async (name) => {
        stopped.push(...(await this.#stop(name)));
      },
      (name) => this.#go(name),
    );
    return {
      says: `SIGSTOP to ${placeText(who)} (${names.join(', ')})`,
      evidence: evidenceOf(stopped),
      heal,
    };
  }

  async #stutter({ who, stopMs, goMs }: Extract<Fault, { kind: 'stutter' }>): Promise<Broken> {
    const names = await this.#named(who);
    const stopped = new Set<number>();
    const heal = await repeated(stopMs, goMs, () =>
      this.#allOrNone(
        names,
        async (name) => {
          for (const pid of await this.#stop(name)) stopped.add(pid);
        },
        (name) => this.#go(name),
      ),
    );
    const says = `${placeText(who)} (${names.join(', ')}) stopped ${stopMs} ms of every ${stopMs + goMs} ms`;
    return { says, evidence: evidenceOf([...stopped]), heal };
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
      says: clockText(names.join(', '), byMs),
      evidence: evidence.length > 0 ? evidence.join('; ') : undefined,
      heal: undoing(names, async (name) => {
        await set(name, 0);
      }),
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

  async #acceptLoss(region: string): Promise<Broken> {
    const [heir = ''] = await this.#named({ region, role: 'replica' });
    const by = 'the operator of this run';
    const { status, said } = await this.#world.domicile([
      ...['region', region, 'promote', heir, '--accept-loss', '--by', by],
      ...['--why', 'the primary does not come back in time'],
    ]);
    return {
      says: `order to ${heir} to take over ${region}, whatever is lost`,
      evidence: status === 0 ? said.split('\n')[0] : undefined,
      heal: async () => {},
      // An order that is not confirmed may have been carried out.
      acceptedLoss: { home: region, by },
    };
  }

  async #refill(region: string): Promise<Broken> {
    const { status, said } = await this.#world.domicile(['policy', 'apply']);
    const steps = said.split('\n').at(-1) ?? '';
    return {
      says:
        status === 0
          ? `mirrors of ${region} filled anew`
          : `mirrors of ${region} not filled anew: ${said}`,
      evidence: status === 0 && !steps.startsWith('Nothing') ? steps : undefined,
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
    const sent = await this.#standStill(name, held > 0).catch((error: unknown) => {
      this.#stops.set(name, (this.#stops.get(name) ?? 1) - 1);
      throw error;
    });
    return sent.filter(isStopped);
  }

  /** Every process of it, unless it throws: then they go on, but for those that another fault holds. */
  async #standStill(name: string, isHeld = (this.#stops.get(name) ?? 0) > 0): Promise<number[]> {
    const sent = new Set<number>();
    try {
      // What a server forks before it stands still is in the next list.
      for (;;) {
        const pids = (await this.#world.pidsOf(name)).filter((pid) => !sent.has(pid));
        if (pids.length === 0) return [...sent];
        for (const pid of pids) {
          signal(pid, 'SIGSTOP');
          sent.add(pid);
        }
        await within(SIGNAL_MS_MAX, () => pids.every((pid) => isStopped(pid) || !isThere(pid)));
      }
    } catch (error) {
      if (!isHeld) for (const pid of sent) signal(pid, 'SIGCONT');
      throw error;
    }
  }

  async #go(name: string): Promise<void> {
    const pids = await this.#world.pidsOf(name);
    const held = (this.#stops.get(name) ?? 1) - 1;
    this.#stops.set(name, held);
    if (held > 0) return;
    for (const pid of pids) signal(pid, 'SIGCONT');
  }
}

/** Tries all that are left; what was undone is not undone a second time when it is asked again. */
function undoing<T>(items: readonly T[], undo: (item: T) => Promise<void>) {
  const left = new Set(items);
  return async () => {
    const tried = await Promise.allSettled(
      [...left].map(async (item) => {
        await undo(item);
        left.delete(item);
      }),
    );
    const failed = tried.find((one) => one.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  };
}

/** One after the other, for what stands on what came before it. */
function inOrder<T>(items: readonly T[], undo: (item: T) => Promise<void>) {
  const left = [...items];
  return async () => {
    for (let item = left[0]; item !== undefined; item = left[0]) {
      await undo(item);
      left.shift();
    }
  };
}

/** Begins at once; `undo` of the last round is part of the end. */
async function repeated(
  onMs: number,
  offMs: number,
  begin: () => Promise<() => Promise<void>>,
): Promise<() => Promise<void>> {
  const ending = new AbortController();
  let undo: (() => Promise<void>) | undefined = await begin();
  const rest = (ms: number) => pause(ms, undefined, { signal: ending.signal }).catch(() => {});
  const undone = async () => {
    await undo?.();
    undo = undefined;
  };
  const rounds = async () => {
    while (!ending.signal.aborted) {
      await rest(onMs);
      // What fails here is done in the next round, and at the end by whoever ends it.
      await undone().catch(() => {});
      await rest(offMs);
      if (ending.signal.aborted || undo !== undefined) continue;
      undo = await begin().catch(() => undefined);
    }
  };
  const done = rounds();
  return async () => {
    ending.abort();
    await done;
    await undone();
  };
}

function evidenceOf(stopped: readonly number[]): string | undefined {
  return stopped.length === 0 ? undefined : `${stopped.length} processes stand still`;
}

/** False when it had ended between the look and the signal. */
function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    return false;
  }
}

/** What stood in the way, in words. */
export function whyOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
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
