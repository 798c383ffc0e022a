/**
 * What happens next, and when?
 *
 * A clock that jumps from event to event, in milliseconds. Events of one moment happen in the order
 * in which they were arranged. What takes several steps is a task: a generator that hands out
 * whoever resumes it.
 */
export type Task<T> = Generator<(resume: (value: never) => void) => void, T, never>;

export class Agenda {
  nowMs = 0;
  steps = 0;
  #atMs: number[] = [];
  #orders: number[] = [];
  #events: (() => void)[] = [];
  #arranged = 0;

  in(delayMs: number, event: () => void): void {
    this.at(this.nowMs + delayMs, event);
  }

  at(whenMs: number, event: () => void): void {
    // What was due already happens next: the clock never goes back.
    const atMs = Math.max(whenMs, this.nowMs);
    const order = this.#arranged++;
    let hole = this.#atMs.length;
    this.#atMs.push(atMs);
    this.#orders.push(order);
    this.#events.push(event);
    while (hole > 0) {
      const parent = (hole - 1) >> 1;
      if ((this.#atMs[parent] as number) <= atMs) break;
      this.#move(parent, hole);
      hole = parent;
    }
    this.#put(hole, atMs, order, event);
  }

  /** Lets the next event happen; false when there is none. */
  step(): boolean {
    const event = this.#events[0];
    if (event === undefined) return false;
    this.nowMs = this.#atMs[0] as number;
    this.steps++;
    const atMs = this.#atMs.pop() as number;
    const order = this.#orders.pop() as number;
    const last = this.#events.pop() as () => void;
    if (this.#events.length > 0) this.#sink(atMs, order, last);
    event();
    return true;
  }

  #sink(atMs: number, order: number, event: () => void): void {
    const size = this.#events.length;
    let hole = 0;
    for (;;) {
      let child = 2 * hole + 1;
      if (child >= size) break;
      if (child + 1 < size && this.#comesFirst(child + 1, child)) child++;
      const childAtMs = this.#atMs[child] as number;
      if (childAtMs > atMs || (childAtMs === atMs && (this.#orders[child] as number) > order))
        break;
      this.#move(child, hole);
      hole = child;
    }
    this.#put(hole, atMs, order, event);
  }

  #comesFirst(a: number, b: number): boolean {
    const [aMs, bMs] = [this.#atMs[a] as number, this.#atMs[b] as number];
    return aMs < bMs || (aMs === bMs && (this.#orders[a] as number) < (this.#orders[b] as number));
  }

  #move(from: number, to: number): void {
    this.#put(
      to,
      this.#atMs[from] as number,
      this.#orders[from] as number,
      this.#events[from] as () => void,
    );
  }

  #put(at: number, atMs: number, order: number, event: () => void): void {
    this.#atMs[at] = atMs;
    this.#orders[at] = order;
    this.#events[at] = event;
  }

  *sleep(delayMs: number): Task<void> {
    yield* wait<void>((resume) => this.in(delayMs, resume));
  }
}

/** Stands still until `resume` is called, once. */
export function* wait<T>(arrange: (resume: (value: T) => void) => void): Task<T> {
  return yield arrange as (resume: (value: never) => void) => void;
}

/** Runs a task up to its end, which `done` hears of. */
export function start<T>(task: Task<T>, done?: (value: T) => void): void {
  const goOn = (value: never): void => {
    const { done: ended, value: next } = task.next(value);
    if (ended) done?.(next);
    else next(goOn);
  };
  goOn(undefined as never);
}

/** Runs tasks side by side. */
export function* together<T>(tasks: readonly Task<T>[]): Task<T[]> {
  return yield* wait<T[]>((resume) => {
    const values: T[] = [];
    let open = tasks.length;
    for (const [index, task] of tasks.entries()) {
      start(task, (value) => {
        values[index] = value;
        if (--open === 0) resume(values);
      });
    }
  });
}
