/**
 * Which order explains what was read of a register, and if none does, which calls contradict it?
 *
 * No two writes carry the same value, and that makes the search short: whoever read a value comes
 * after its write and before the next one, so a write is not taken over a value that somebody has yet
 * to read, and a write of unknown outcome was done before the first read that shows its value ended,
 * or is not needed at all.
 *
 * An explanation that names a thousand operations explains nothing. So calls are taken away, in
 * larger pieces first, as long as the rest stays contradictory. A write goes together with everybody
 * who saw its value: what remains could have happened without them.
 */
import type { Operation, Value } from '../history.ts';
import { type Call, type Machine, search } from './linearization-search.ts';

/** It has never been written. */
export const NEVER = 'never';
/** `unknown`: what a loss has left there. */
export type State = Value | typeof NEVER | 'unknown';

export type CellCall = {
  invokedAtMs: number;
  /** Infinity: it is not known to have been done. */
  endedAtMs: number;
  /** Undefined: what was read when the run was over. */
  operation: Operation | undefined;
  /** What it found there. */
  expects?: State;
  puts?: Value;
};

export type CellFound =
  | { kind: 'explained' }
  | {
      kind: 'contradiction';
      /** In the order in which they were sent. */
      involved: readonly CellCall[];
      /** The longest order of these that fits, and what it leaves there. */
      order: readonly CellCall[];
      holds: State;
      /** It has to come next. */
      stuck: CellCall;
    }
  | { kind: 'given-up'; why: string };

/** Searches while an explanation is made short; the first one was within its bound already. */
const SHORTENING_STEPS_MAX = 200_000;

export function explainCell(
  calls: readonly CellCall[],
  beginsUnknown: boolean,
  stepsMax: number,
): CellFound {
  const twice = writtenTwice(calls);
  if (twice !== undefined) return { kind: 'given-up', why: `${twice} was written twice` };
  const found = tried(calls, beginsUnknown, stepsMax);
  if (found.kind === 'explained') return { kind: 'explained' };
  if (found.kind === 'given-up') {
    const why = `undecided after ${stepsMax} steps over ${calls.length} operations`;
    return { kind: 'given-up', why };
  }
  const involved = shortened(calls, beginsUnknown, found.stuck);
  const short = tried(involved, beginsUnknown, SHORTENING_STEPS_MAX, false);
  const { stuck, order, holds } = short.kind === 'contradiction' ? short : found;
  return {
    kind: 'contradiction',
    involved: [...involved].sort((a, b) => a.invokedAtMs - b.invokedAtMs),
    order,
    holds,
    stuck,
  };
}

function writtenTwice(calls: readonly CellCall[]): Value | undefined {
  const seen = new Set<Value>();
  for (const { puts } of calls) {
    if (puts === undefined) continue;
    if (seen.has(puts)) return puts;
    seen.add(puts);
  }
  return undefined;
}

type Tried =
  | { kind: 'explained'; steps: number }
  | {
      kind: 'contradiction';
      order: readonly CellCall[];
      holds: State;
      stuck: CellCall;
      steps: number;
    }
  | { kind: 'given-up'; steps: number };

/** With `looksAhead`, a value is not overwritten before everybody has seen it who did. */
function tried(
  all: readonly CellCall[],
  beginsUnknown: boolean,
  stepsMax: number,
  looksAhead = true,
): Tried {
  const { calls, searched } = required(all);
  const numbers = new Map<State, number>([
    [NEVER, 0],
    ['unknown', 1],
  ]);
  const numberOf = (state: State): number => {
    const known = numbers.get(state);
    if (known !== undefined) return known;
    numbers.set(state, numbers.size);
    return numbers.size - 1;
  };
  const expects = calls.map((call) => (call.expects === undefined ? -1 : numberOf(call.expects)));
  const puts = calls.map((call) => (call.puts === undefined ? -1 : numberOf(call.puts)));
  // What is sent later was not left there before.
  const isPut = new Uint8Array(numbers.size);
  for (const state of puts) if (state !== -1) isPut[state] = 1;
  /** By state: who has yet to see it. */
  const waiting = new Int32Array(numbers.size);
  const readers: number[][] = Array.from({ length: numbers.size }, () => []);
  searched.forEach(({ pure }, call) => {
    const state = expects[call] as number;
    if (pure && state !== -1) readers[state]?.push(call);
  });
  const swaps = new Int32Array(numbers.size);
  const count = (call: number, by: number) => {
    const state = expects[call] as number;
    if (state === -1) return;
    waiting[state] = (waiting[state] as number) + by;
    if (puts[call] !== -1) swaps[state] = (swaps[state] as number) + by;
  };
  for (let call = 0; call < calls.length; call++) count(call, 1);
  const machine: Machine = {
    initial: beginsUnknown ? 1 : 0,
    pureIn: (state) => readers[state] ?? [],
    step(state, call) {
      const wanted = expects[call] as number;
      if (wanted !== -1 && state !== wanted && (state !== 1 || isPut[wanted] === 1)) {
        return undefined;
      }
      const put = puts[call] as number;
      if (put === -1) return wanted;
      if (!looksAhead) return put;
      // Once overwritten it never comes back.
      const others = (waiting[state] as number) - (wanted === state ? 1 : 0);
      return state !== 1 && others > 0 ? undefined : put;
    },
    isHopeless(state) {
      if (!looksAhead || state === 1 || waiting[state] === 0) return false;
      // Somebody has yet to see it who cannot now; only a swap may see it and end it at once.
      return waiting[state] !== 1 || swaps[state] !== 1;
    },
    taken: (call) => count(call, -1),
    undone: (call) => count(call, 1),
  };
  const found = search(searched, machine, stepsMax);
  if (found.kind !== 'contradiction') return found;
  const order = found.longest.map((index) => calls[index] as CellCall);
  let holds: State = beginsUnknown ? 'unknown' : NEVER;
  for (const call of order) holds = call.puts ?? call.expects ?? holds;
  const stuck = calls[found.stuck] as CellCall;
  return { kind: 'contradiction', order, holds, stuck, steps: found.steps };
}

/** Writes that are not known to be done are left out, or have a time by which they were. */
function required(all: readonly CellCall[]): { calls: CellCall[]; searched: Call[] } {
  const seenByMs = new Map<State, number>();
  for (const { expects, endedAtMs } of all) {
    if (expects === undefined) continue;
    seenByMs.set(expects, Math.min(endedAtMs, seenByMs.get(expects) ?? Number.POSITIVE_INFINITY));
  }
  const calls: CellCall[] = [];
  const searched: Call[] = [];
  // Whoever saw a value may itself be a swap that is not known to be done: so until nothing changes.
  const byMs = new Map<CellCall, number>();
  for (let changed = true; changed; ) {
    changed = false;
    for (const call of all) {
      if (call.endedAtMs !== Number.POSITIVE_INFINITY || call.puts === undefined) continue;
      const ms = seenByMs.get(call.puts);
      if (ms === undefined || ms >= (byMs.get(call) ?? Number.POSITIVE_INFINITY)) continue;
      byMs.set(call, ms);
      changed = true;
      if (call.expects === undefined) continue;
      seenByMs.set(call.expects, Math.min(ms, seenByMs.get(call.expects) ?? ms));
    }
  }
  for (const call of all) {
    const endedAtMs = byMs.get(call) ?? call.endedAtMs;
    if (endedAtMs === Number.POSITIVE_INFINITY) continue;
    calls.push(call);
    const { invokedAtMs, puts } = call;
    searched.push({ invokedAtMs, endedAtMs, optional: false, pure: puts === undefined });
  }
  return { calls, searched };
}

function shortened(
  calls: readonly CellCall[],
  beginsUnknown: boolean,
  stuck: CellCall,
): readonly CellCall[] {
  let stepsLeft = SHORTENING_STEPS_MAX;
  let kept = [...calls].sort((a, b) => a.invokedAtMs - b.invokedAtMs);
  const without = (gone: ReadonlySet<CellCall>): boolean => {
    const rest = leaveOut(kept, gone);
    if (rest.length === kept.length || stepsLeft <= 0) return false;
    const found = tried(rest, beginsUnknown, stepsLeft);
    stepsLeft -= found.steps;
    if (found.kind !== 'contradiction') return false;
    kept = rest;
    return true;
  };
  without(new Set(kept.filter(({ invokedAtMs }) => invokedAtMs > stuck.endedAtMs)));
  for (let size = Math.ceil(kept.length / 2); size >= 1; ) {
    let went = false;
    for (let from = 0; from < kept.length; ) {
      if (without(new Set(kept.slice(from, from + size)))) went = true;
      else from += size;
    }
    if (size === 1 && !went) break;
    if (size > 1) size = Math.ceil(size / 2);
    if (stepsLeft <= 0) break;
  }
  return kept;
}

/** Without these calls, and without whoever saw what they had put there. */
function leaveOut(calls: readonly CellCall[], gone: ReadonlySet<CellCall>): CellCall[] {
  const left = new Set<State>();
  let rest = calls.filter((call) => !gone.has(call));
  for (const { puts } of gone) if (puts !== undefined) left.add(puts);
  for (let before = -1; before !== rest.length; ) {
    before = rest.length;
    rest = rest.filter((call) => {
      if (call.expects === undefined || !left.has(call.expects)) return true;
      if (call.puts !== undefined) left.add(call.puts);
      return false;
    });
  }
  return rest;
}
