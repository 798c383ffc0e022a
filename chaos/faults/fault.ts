/**
 * What can be done to a running system?
 *
 * A fault is plain data: it can be drawn at random, written to a file and played again. Roles such
 * as "the primary of eu" are looked up at the moment when the fault begins.
 */

import { duration } from '../report/figures.ts';

export type Role = 'primary' | 'replica' | 'airlock' | 'edge' | 'keeper';
/** A process by its role in a region, everything of a region, or a process by its name. */
export type Place = { region: string; role?: Role } | { name: string };
/** The links that lead from one place to another; without a place, from or to anywhere. */
export type LinkChoice = { from?: Place; to?: Place; bothWays?: boolean };
/** Towards the server, towards who asked, or both. */
export type Direction = 'upstream' | 'downstream' | 'both';

export type NetworkFault =
  /** Refuses connections and ends those that are open. */
  | { kind: 'cut'; links: LinkChoice }
  /** Swallows what is sent, and tells nobody; in one direction it is a half-open link. */
  | { kind: 'hole'; links: LinkChoice; direction?: Direction }
  | { kind: 'slow'; links: LinkChoice; latencyMs: number; jitterMs?: number }
  | { kind: 'narrow'; links: LinkChoice; kBps: number; direction?: Direction }
  /** Connections that begin now end with a reset, so long after their first byte. */
  | { kind: 'reset'; links: LinkChoice; afterMs: number }
  /** Each connection ends after so many bytes, wherever that is: in a commit's reply, say. */
  | { kind: 'limit'; links: LinkChoice; bytes: number; direction?: Direction }
  | { kind: 'slice'; links: LinkChoice; bytes: number; delayUs: number }
  /** Cut, or swallowing, again and again. */
  | { kind: 'flap'; links: LinkChoice; how: 'cut' | 'hole'; upMs: number; downMs: number };

export type ProcessFault =
  /**
   * SIGKILL to all of it. At the end of the fault it is started again; what a keeper keeps only if
   * that is wanted, as the machine does that it stands on.
   */
  | { kind: 'kill'; who: Place; startAgain?: boolean }
  /** SIGSTOP to all of it, and SIGCONT at the end. */
  | { kind: 'freeze'; who: Place }
  /** Frozen and let go in turns: a machine with far too much to do. */
  | { kind: 'stutter'; who: Place; stopMs: number; goMs: number }
  /** The replica receives and keeps what it is sent, and shows none of it. */
  | { kind: 'pause-replay'; region: string }
  /** The wall clock of an edge is off by so much. */
  | { kind: 'clock'; who: Place; byMs: number };

/** What an operator may do at any time. */
export type OperatorAct =
  | { kind: 'switchover'; region: string }
  /** The replica takes over although it may lack acknowledged writes. */
  | { kind: 'accept-loss'; region: string }
  /** The policy in force is applied once more, which begins anew what cannot go on. */
  | { kind: 'refill'; region: string }
  | { kind: 'policy'; change: string };

export type Fault = NetworkFault | ProcessFault | OperatorAct;
export type FaultKind = Fault['kind'];

/** One fault of a run: when it begins, and for how long it lasts. */
export type Timed = { atMs: number; forMs?: number; fault: Fault };
export type Schedule = readonly Timed[];

export const primary = (region: string): Place => ({ region, role: 'primary' });
export const replica = (region: string): Place => ({ region, role: 'replica' });
export const airlock = (region: string): Place => ({ region, role: 'airlock' });
export const edge = (region: string): Place => ({ region, role: 'edge' });
export const keeper = (region: string): Place => ({ region, role: 'keeper' });
/** Everything between two regions, or between one and all others. */
export const between = (a: string, b?: string): LinkChoice => ({
  from: { region: a },
  ...(b === undefined ? {} : { to: { region: b } }),
  bothWays: true,
});
/** Every link of one process. */
export const around = (place: Place): LinkChoice => ({ to: place, bothWays: true });

export function placeText(place: Place): string {
  if ('name' in place) return place.name;
  return place.role === undefined ? place.region : `the ${place.role} of ${place.region}`;
}

export function linksText({ from, to, bothWays }: LinkChoice): string {
  const [a, b] = [from, to].map((place) => (place === undefined ? undefined : placeText(place)));
  if (a !== undefined && b !== undefined) {
    return bothWays === true ? `between ${a} and ${b}` : `from ${a} to ${b}`;
  }
  const one = a ?? b ?? 'everybody';
  if (bothWays === true) return `between ${one} and all others`;
  return a === undefined ? `to ${one}` : `from ${one}`;
}

/** Words for a person. */
export function faultText(fault: Fault): string {
  switch (fault.kind) {
    case 'cut':
      return `connections refused ${linksText(fault.links)}`;
    case 'hole': {
      const what = { both: 'everything', upstream: 'questions', downstream: 'answers' };
      return `${what[fault.direction ?? 'both']} swallowed ${linksText(fault.links)}`;
    }
    case 'slow': {
      const jitter = fault.jitterMs === undefined ? '' : ` ± ${fault.jitterMs} ms`;
      return `${fault.latencyMs} ms${jitter} slower each way ${linksText(fault.links)}`;
    }
    case 'narrow':
      return `${fault.kBps} kB/s ${linksText(fault.links)}`;
    case 'reset':
      return `new connections reset after ${fault.afterMs} ms ${linksText(fault.links)}`;
    case 'limit':
      return `connections end after ${fault.bytes} bytes ${linksText(fault.links)}`;
    case 'slice':
      return `slices of ${fault.bytes} bytes ${linksText(fault.links)}`;
    case 'flap':
      return `${fault.how === 'cut' ? 'cut' : 'swallowing'} ${fault.downMs} ms of every ${fault.upMs + fault.downMs} ms ${linksText(fault.links)}`;
    case 'kill':
      return `SIGKILL to ${placeText(fault.who)}`;
    case 'freeze':
      return `SIGSTOP to ${placeText(fault.who)}`;
    case 'stutter':
      return `${placeText(fault.who)} stopped ${fault.stopMs} ms of every ${fault.stopMs + fault.goMs} ms`;
    case 'pause-replay':
      return `replay paused on ${placeText(replica(fault.region))}`;
    case 'clock':
      return clockText(placeText(fault.who), fault.byMs);
    case 'switchover':
      return `switchover of ${fault.region}`;
    case 'accept-loss':
      return `order to ${placeText(replica(fault.region))} to take over, whatever is lost`;
    case 'refill':
      return `mirrors of ${fault.region} filled anew`;
    case 'policy':
      return `policy applied: ${fault.change}`;
  }
}

export function clockText(whose: string, byMs: number): string {
  return `clock of ${whose} ${byMs < 0 ? 'back' : 'forward'} by ${duration(Math.abs(byMs))}`;
}

/** Regions that a fault is about, as far as its words say. */
export function regionsOf(fault: Fault, all: readonly string[]): string[] {
  const named = (place: Place | undefined): string[] =>
    place === undefined
      ? []
      : 'region' in place
        ? [place.region]
        : all.filter((region) => place.name.split('-').includes(region));
  const found = (() => {
    if ('links' in fault) return [...named(fault.links.from), ...named(fault.links.to)];
    if ('who' in fault) return named(fault.who);
    return 'region' in fault ? [fault.region] : [];
  })();
  return found.length === 0 ? [...all] : [...new Set(found)];
}
