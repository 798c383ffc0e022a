/**
 * What may a toxic do to the bytes that pass through it?
 *
 * The vocabulary only. A toxic is a generator that takes items, waits, and passes items on; a seat
 * (`seat.ts`) drives it. Generators and not async functions, because a seat resumes them on the
 * spot: when the API changes a chain, every stage has let go of what it held before the next line
 * runs, and there is no moment in which a chunk is in nobody's hands.
 */

/** Bytes read from one socket in one go, and when. Latency counts from then, not from its turn. */
export type Chunk = { readonly data: Buffer; readonly atMs: number };

/** What travels along a chain. `end` is the source's FIN, its RST, or a toxic's decision to close. */
export type Item = Chunk | 'end';

/** What a stage can wait for. `deaf` sleeps through every change of the chain. */
export type Wait =
  | { for: 'item'; withinMs: number | undefined }
  | { for: 'room' }
  | { for: 'time'; ms: number; deaf: boolean };

/** Why a waiting stage runs again. After `stop` every further wait answers `stop` at once. */
export type Woken = Item | 'late' | 'room' | 'elapsed' | 'stop';

export type Course = Generator<Wait, void, Woken>;
export type Waiting<Result> = Generator<Wait, Result, Woken>;

/** A toxic's hands on one direction of one connection. */
export interface Stage {
  /** The next item, or `late` when a limit was given and nothing came within it. */
  take(): Waiting<Item | 'stop'>;
  takeWithin(ms: number): Waiting<Item | 'late' | 'stop'>;
  /** Passes a chunk on as soon as the next stage has room, or at once when stopped. */
  emit(chunk: Chunk): Waiting<void>;
  /** Nothing more will come from here: later items are dropped. */
  end(): void;
  /** Returns an item to the head of the queue, for whoever takes from it after a stop. */
  putBack(item: Item): void;
  sleep(ms: number): Waiting<'elapsed' | 'stop'>;
  /** Sleeps on whatever happens to the chain. Such a stage also outlives its own removal. */
  sleepThrough(ms: number): Waiting<void>;
  nowMs(): number;
  random(): number;
  /** What this toxic remembers of the connection when it is updated and starts again. */
  readonly kept: { bytes: number };
}

/** One sort of toxic: what it is called, what can be set, what it does. */
export type ToxicKind = {
  type: string;
  /** Every attribute is a whole number and zero unless given. */
  attributes: readonly string[];
  /** Chunks that may wait in front of it before the source is no longer read. */
  queueChunksMax: number;
  /** Taking it away ends every connection it could have touched. */
  closesWhenRemoved: boolean;
  /** Connections opened while it is there end by RST, whatever ends them. */
  resetsConnections: boolean;
  run(attributes: Readonly<Record<string, number>>, stage: Stage): Course;
};

type Traits = Partial<
  Pick<ToxicKind, 'queueChunksMax' | 'closesWhenRemoved' | 'resetsConnections'>
>;

/** Describes a sort of toxic; `run` sees its own attributes by name, missing ones as zero. */
export function toxicKind<Attribute extends string>(
  spec: Traits & {
    type: string;
    attributes: readonly Attribute[];
    run(attributes: Readonly<Record<Attribute, number>>, stage: Stage): Course;
  },
): ToxicKind {
  return {
    queueChunksMax: 1,
    closesWhenRemoved: false,
    resetsConnections: false,
    ...spec,
    run(given, stage) {
      const own = spec.attributes.map((key) => [key, given[key] ?? 0]);
      return spec.run(Object.fromEntries(own) as Record<Attribute, number>, stage);
    },
  };
}

/** What a stage does when nothing is to be done: a noop, or a toxic that spares this connection. */
export function* passOn(stage: Stage): Course {
  for (;;) {
    const item = yield* stage.take();
    if (item === 'stop') return;
    if (item === 'end') return stage.end();
    yield* stage.emit(item);
  }
}
