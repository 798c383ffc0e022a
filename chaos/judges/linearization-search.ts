/**
 * Can concurrent calls be put into one order that explains what each of them answered?
 *
 * The search of Wing and Gong, with Lowe's memory of what was tried and the list of calls and returns
 * that Horn and Kroening describe. Calls are taken one by one from those that no other one had to come
 * before; a set of calls that led nowhere from a state is not tried again. The memory compares sets
 * themselves, not only their hashes: a verdict is never a matter of luck. A call that changes nothing
 * and fits is taken at once, because taking it never takes a possibility away.
 */

export type Call = {
  invokedAtMs: number;
  /** Infinity: it may be done at any later time. */
  endedAtMs: number;
  /** May also never be done. */
  optional: boolean;
  /** Changes no state: when it fits, it can be taken. */
  pure: boolean;
};

/** States are numbers that the caller gives meaning to. */
export type Machine = {
  initial: number;
  /** Undefined: the call cannot have answered so in this state. */
  step(state: number, call: number): number | undefined;
  /** The pure calls that fit this state, if that is known without asking each. */
  pureIn?(state: number): readonly number[];
  /** Whether it is known that from here nothing leads on, asked when all pure calls were taken. */
  isHopeless?(state: number): boolean;
  /** What it needs to know beside the state may depend on which calls were taken, and on no order. */
  taken?(call: number): void;
  undone?(call: number): void;
};

export type Found =
  | { kind: 'explained'; order: readonly number[]; steps: number }
  /** `longest` explains most; whatever follows it, `stuck` had ended by then and cannot be next. */
  | { kind: 'contradiction'; longest: readonly number[]; stuck: number; steps: number }
  | { kind: 'given-up'; steps: number };

type Frame = { call: number; state: number; absorbed: boolean };

export function search(calls: readonly Call[], machine: Machine, stepsMax: number): Found {
  const list = new Events(calls);
  const memory = new Memory(calls.length);
  const frames: Frame[] = [];
  let state = machine.initial;
  let left = calls.reduce((count, { optional }) => (optional ? count : count + 1), 0);
  let steps = 0;
  let longest: number[] = [];
  let stuck = -1;

  const take = (call: number, next: number, absorbed: boolean) => {
    frames.push({ call, state, absorbed });
    state = next;
    list.lift(call);
    memory.add(call);
    machine.taken?.(call);
    if (calls[call]?.optional === false) left--;
  };
  const undo = (frame: Frame) => {
    machine.undone?.(frame.call);
    memory.remove(frame.call);
    list.unlift(frame.call);
    state = frame.state;
    if (calls[frame.call]?.optional === false) left++;
  };
  const note = (blocked: number) => {
    if (stuck !== -1 && frames.length <= longest.length) return;
    longest = frames.map((frame) => frame.call);
    stuck = blocked;
  };
  const absorbKnown = (pure: readonly number[]) => {
    for (let more = true; more; ) {
      more = false;
      const untilMs = list.earliestEndMs((call) => memory.has(call));
      for (const call of pure) {
        steps++;
        if (memory.has(call) || (calls[call]?.invokedAtMs ?? 0) > untilMs) continue;
        take(call, state, true);
        more = true;
      }
    }
  };
  /** Takes everything that fits and changes nothing. */
  const absorb = () => {
    if (machine.pureIn !== undefined) {
      absorbKnown(machine.pureIn(state));
      return;
    }
    for (let event = list.first(); event !== -1 && list.isCall(event); ) {
      const call = list.callOf(event);
      steps++;
      if (calls[call]?.pure === true && machine.step(state, call) === state) {
        take(call, state, true);
        // Its return may have been what others waited behind.
        event = list.first();
      } else {
        event = list.after(event);
      }
    }
  };

  absorb();
  let event = list.first();
  while (left > 0) {
    if (++steps > stepsMax) return { kind: 'given-up', steps };
    if (event !== -1 && list.isCall(event)) {
      const call = list.callOf(event);
      const next = machine.step(state, call);
      if (next !== undefined) {
        const before = frames.length;
        take(call, next, false);
        absorb();
        if (machine.isHopeless?.(state) === true) note(list.earliest((each) => memory.has(each)));
        else if (memory.isNew(state)) {
          event = list.first();
          continue;
        }
        while (frames.length > before) undo(frames.pop() as Frame);
      }
      event = list.after(event);
      continue;
    }
    note(event === -1 ? -1 : list.callOf(event));
    let frame = frames.pop();
    while (frame?.absorbed === true) {
      undo(frame);
      frame = frames.pop();
    }
    if (frame === undefined) return { kind: 'contradiction', longest, stuck, steps };
    undo(frame);
    event = list.after(list.callEvent(frame.call));
  }
  return { kind: 'explained', order: frames.map((frame) => frame.call), steps };
}

/** Calls and returns in the order of time, as a list that a call is lifted out of and put back. */
class Events {
  #next: Int32Array;
  #previous: Int32Array;
  /** Events below this are calls, the others returns. */
  #calls: number;
  #endsMs: readonly number[];
  /** In the order of their ends; those before `#passed` were all taken. */
  #byEnd: readonly number[];
  #rank: Int32Array;
  #passed = 0;

  constructor(calls: readonly Call[]) {
    this.#calls = calls.length;
    const events = Array.from({ length: calls.length * 2 }, (_, event) => event);
    const timeOf = (event: number) =>
      event < calls.length
        ? (calls[event]?.invokedAtMs ?? 0)
        : (calls[event - calls.length]?.endedAtMs ?? 0);
    const times = events.map(timeOf);
    events.sort((a, b) => {
      const [left, right] = [times[a] as number, times[b] as number];
      // At one instant calls come first: then they overlap, and nobody is accused for a clock's grain.
      if (left !== right) return left < right ? -1 : 1;
      const [isLeftCall, isRightCall] = [a < calls.length, b < calls.length];
      if (isLeftCall !== isRightCall) return isLeftCall ? -1 : 1;
      return a - b;
    });
    this.#endsMs = calls.map(({ endedAtMs }) => endedAtMs);
    this.#byEnd = events
      .filter((event) => event >= calls.length)
      .map((event) => this.callOf(event));
    this.#rank = new Int32Array(calls.length);
    this.#byEnd.forEach((call, rank) => {
      this.#rank[call] = rank;
    });
    // The last place is the head of the list.
    const head = events.length;
    this.#next = new Int32Array(events.length + 1);
    this.#previous = new Int32Array(events.length + 1);
    let last = head;
    for (const event of events) {
      this.#next[last] = event;
      this.#previous[event] = last;
      last = event;
    }
    this.#next[last] = head;
    this.#previous[head] = last;
  }

  #orEnd(event: number): number {
    return event === this.#calls * 2 ? -1 : event;
  }

  first(): number {
    return this.#orEnd(this.#next[this.#calls * 2] as number);
  }

  after(event: number): number {
    return this.#orEnd(this.#next[event] as number);
  }

  isCall(event: number): boolean {
    return event < this.#calls;
  }

  callOf(event: number): number {
    return event < this.#calls ? event : event - this.#calls;
  }

  callEvent(call: number): number {
    return call;
  }

  /** Of those that were not taken, the one that ends first; -1 if there is none. */
  earliest(isTaken: (call: number) => boolean): number {
    for (;;) {
      const call = this.#byEnd[this.#passed];
      if (call === undefined) return -1;
      if (!isTaken(call)) return call;
      this.#passed++;
    }
  }

  /** Whatever was not taken and began later than this has to wait. */
  earliestEndMs(isTaken: (call: number) => boolean): number {
    const call = this.earliest(isTaken);
    return call === -1 ? Number.POSITIVE_INFINITY : (this.#endsMs[call] as number);
  }

  lift(call: number): void {
    this.#cut(call);
    this.#cut(call + this.#calls);
  }

  /** In the opposite order of `lift`, so that each finds the neighbours that it left. */
  unlift(call: number): void {
    this.#passed = Math.min(this.#passed, this.#rank[call] as number);
    this.#mend(call + this.#calls);
    this.#mend(call);
  }

  #cut(event: number): void {
    const [next, previous] = [this.#next[event] as number, this.#previous[event] as number];
    this.#next[previous] = next;
    this.#previous[next] = previous;
  }

  #mend(event: number): void {
    const [next, previous] = [this.#next[event] as number, this.#previous[event] as number];
    this.#next[previous] = event;
    this.#previous[next] = event;
  }
}

type Met = { state: number; from: number; words: Uint32Array };

/** The calls that were taken, and with which states such a set was met before. */
class Memory {
  #words: Uint32Array;
  /** All words below are full. */
  #from = 0;
  #until = 0;
  #hash = 0;
  #met = new Map<number, Met[]>();

  constructor(calls: number) {
    this.#words = new Uint32Array(Math.ceil(calls / 32) + 1);
  }

  add(call: number): void {
    const word = call >>> 5;
    this.#words[word] = (this.#words[word] as number) | (1 << (call & 31));
    this.#hash ^= scrambled(call);
    if (word >= this.#until) this.#until = word + 1;
    while (this.#words[this.#from] === 0xffff_ffff) this.#from++;
  }

  has(call: number): boolean {
    return ((this.#words[call >>> 5] as number) & (1 << (call & 31))) !== 0;
  }

  remove(call: number): void {
    const word = call >>> 5;
    this.#words[word] = (this.#words[word] as number) & ~(1 << (call & 31));
    this.#hash ^= scrambled(call);
    if (word < this.#from) this.#from = word;
  }

  /** Notes the set with this state; false if it was noted before. */
  isNew(state: number): boolean {
    while (this.#until > this.#from && this.#words[this.#until - 1] === 0) this.#until--;
    const words = this.#words.subarray(this.#from, this.#until);
    const key = (this.#hash ^ scrambled(state + 0x5bd1_e995)) >>> 0;
    const met = this.#met.get(key);
    if (met === undefined) {
      this.#met.set(key, [{ state, from: this.#from, words: words.slice() }]);
      return true;
    }
    for (const known of met) {
      if (known.state !== state || known.from !== this.#from) continue;
      if (known.words.length !== words.length) continue;
      if (known.words.every((word, index) => word === words[index])) return false;
    }
    met.push({ state, from: this.#from, words: words.slice() });
    return true;
  }
}

function scrambled(number: number): number {
  let mixed = Math.imul(number ^ (number >>> 16), 0x45d9_f3b);
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x45d9_f3b);
  return (mixed ^ (mixed >>> 16)) | 0;
}
