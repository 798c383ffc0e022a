/**
 * Who drives one toxic on one direction of one connection?
 *
 *     previous --accept--> [ queue ] --take--> (the toxic's generator) --emit--> next
 *         ^                                                                       |
 *         +------------- roomAhead() when the queue is short again <--------------+
 *
 * A seat holds the queue in front of its toxic and at most the one chunk the toxic is busy with,
 * so a receiver that stops reading is felt by the sender a few chunks later.
 */
import {
  type Chunk,
  type Course,
  type Item,
  passOn,
  type Stage,
  type ToxicKind,
  type Wait,
  type Waiting,
  type Woken,
} from './stage.ts';

/** The longest delay a Node timer can count, 24.8 days. A longer one would fire at once. */
const TIMER_MS_MAX = 2_147_483_647;

/** What the entry file hands down: nothing below it reads a clock or draws a number itself. */
export type World = { nowMs(): number; random(): number };

/** A toxic as it stands on a proxy; an update changes it in place. */
export type Toxic = {
  readonly name: string;
  readonly kind: ToxicKind;
  readonly stream: 'upstream' | 'downstream';
  /** The stream as the client spelt it. */
  readonly streamSent: string;
  /** Share of connections it acts on. */
  toxicity: number;
  attributes: Readonly<Record<string, number>>;
};

export interface Inlet {
  /** Never refuses; a polite feeder asks for room first. */
  accept(item: Item): void;
  hasRoom(): boolean;
}

export interface Feeder {
  /** The inlet this one feeds may have room again. */
  roomAhead(): void;
}

export class Seat implements Stage, Inlet, Feeder {
  readonly toxic: Toxic;
  readonly kept = { bytes: 0 };
  previous: Feeder;
  next: Inlet;
  #world: World;
  #queue: Item[] = [];
  #course: Course | undefined;
  #waiting: Wait | undefined;
  #timer: NodeJS.Timeout | undefined;
  #finished = false;
  #stopping = false;
  /** A stop pushed a chunk on without room; take nothing more until the next stage has caught up. */
  #crowded = false;

  constructor(toxic: Toxic, world: World, between: { previous: Feeder; next: Inlet }) {
    this.toxic = toxic;
    this.#world = world;
    this.previous = between.previous;
    this.next = between.next;
  }

  /** Starts the toxic with its present attributes, and draws whether it acts or spares. */
  start(): void {
    if (this.#finished) return;
    const { kind, attributes, toxicity } = this.toxic;
    const acts = this.#world.random() < toxicity;
    this.#course = acts ? kind.run(attributes, this) : passOn(this);
    this.#drive('room');
  }

  /** Makes the toxic let go of all it holds, at once. False if it cannot be stopped any more. */
  stop(): boolean {
    if (this.#waiting?.for === 'time' && this.#waiting.deaf) return false;
    if (this.#finished || this.#course === undefined) return true;
    this.#stopping = true;
    this.#drive('stop');
    this.#stopping = false;
    return true;
  }

  restart(): void {
    if (this.stop()) this.start();
  }

  /** What the queue of a stopped seat still held, in order. */
  leftovers(): Item[] {
    return this.#queue.splice(0);
  }

  /** Both sockets are gone: nothing held has anywhere to go. */
  dispose(): void {
    this.#finish();
  }

  accept(item: Item): void {
    if (this.#finished) return;
    this.#queue.push(item);
    this.#continueTaking();
  }

  hasRoom(): boolean {
    return this.#queue.length < this.toxic.kind.queueChunksMax;
  }

  roomAhead(): void {
    if (!this.next.hasRoom()) return;
    this.#crowded = false;
    if (this.#waiting?.for === 'room') this.#drive('room');
    else this.#continueTaking();
  }

  *take(): Waiting<Item | 'stop'> {
    return (yield { for: 'item', withinMs: undefined }) as Item | 'stop';
  }

  *takeWithin(ms: number): Waiting<Item | 'late' | 'stop'> {
    return (yield { for: 'item', withinMs: ms }) as Item | 'late' | 'stop';
  }

  *emit(chunk: Chunk): Waiting<void> {
    if (!this.next.hasRoom() && (yield { for: 'room' }) === 'stop') this.#crowded = true;
    this.next.accept(chunk);
  }

  *sleep(ms: number): Waiting<'elapsed' | 'stop'> {
    return (yield { for: 'time', ms, deaf: false }) as 'elapsed' | 'stop';
  }

  *sleepThrough(ms: number): Waiting<void> {
    yield { for: 'time', ms, deaf: true };
  }

  end(): void {
    this.#finish();
    this.next.accept('end');
    this.previous.roomAhead();
  }

  putBack(item: Item): void {
    this.#queue.unshift(item);
  }

  nowMs(): number {
    return this.#world.nowMs();
  }

  random(): number {
    return this.#world.random();
  }

  /** Runs the toxic until it waits for something that has not happened yet. */
  #drive(woken: Woken): void {
    clearTimeout(this.#timer);
    this.#waiting = undefined;
    const course = this.#course;
    if (course === undefined) return;
    let step = course.next(woken);
    while (step.done !== true) {
      const answer = this.#answerNow(step.value);
      if (answer === undefined) {
        this.#park(step.value);
        return;
      }
      step = course.next(answer);
    }
  }

  #answerNow(wait: Wait): Woken | undefined {
    if (this.#stopping && !(wait.for === 'time' && wait.deaf)) return 'stop';
    switch (wait.for) {
      case 'item':
        return this.#crowded ? undefined : this.#shift();
      case 'room':
        return this.next.hasRoom() ? 'room' : undefined;
      case 'time':
        return wait.ms > 0 ? undefined : 'elapsed';
    }
  }

  #park(wait: Wait): void {
    this.#waiting = wait;
    if (wait.for === 'time') this.#wakeIn(wait.ms, 'elapsed');
    else if (wait.for === 'item' && wait.withinMs !== undefined)
      this.#wakeIn(wait.withinMs, 'late');
  }

  #wakeIn(ms: number, why: 'elapsed' | 'late'): void {
    this.#timer = setTimeout(() => this.#drive(why), Math.min(ms, TIMER_MS_MAX));
  }

  #continueTaking(): void {
    if (this.#waiting?.for !== 'item' || this.#crowded) return;
    const item = this.#shift();
    if (item !== undefined) this.#drive(item);
  }

  #shift(): Item | undefined {
    const item = this.#queue.shift();
    if (item !== undefined && this.#queue.length === this.toxic.kind.queueChunksMax - 1) {
      // Cleared first: the feeder may push its next chunk before this one is taken.
      this.#waiting = undefined;
      this.previous.roomAhead();
    }
    return item;
  }

  #finish(): void {
    clearTimeout(this.#timer);
    this.#finished = true;
    this.#waiting = undefined;
    this.#queue.length = 0;
  }
}
