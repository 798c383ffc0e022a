/**
 * How do those who watch get the present state, second for second?
 *
 * One look for all of them, and none while nobody watches. Whoever reads more slowly than a state a
 * second gets fewer of them: a state is made only for who has taken the one before, and who takes
 * none for long is not there any more.
 */
import type { ConsoleState } from './console-state.ts';
import type { WorldPicture } from './world-picture.ts';

export type EventStreamsOptions = {
  look: () => Promise<WorldPicture>;
  /** Monotonic milliseconds. */
  now: () => number;
  everyMs?: number;
};

export type Watcher = {
  /** Of the person. */
  id: string;
  state: (picture: WorldPicture) => ConsoleState;
  /** Whether what lets him watch has ended. */
  isOver: () => boolean;
};

const EVERY_MS = 1_000;
/** Between a browser and an edge may stand what ends a connection that is still for a minute. */
const HEARTBEAT_MS = 15_000;
/** Who takes nothing for so long has gone without saying so. */
const STUCK_MS_MAX = 60_000;
export const STREAMS_MAX = 64;
/** Of one person: tabs that somebody forgot. */
export const STREAMS_EACH_MAX = 8;
/** A browser that loses the stream comes back after so long. */
const RETRY_MS = 2_000;

type Stream = {
  watcher: Watcher;
  controller: ReadableStreamDefaultController<Uint8Array>;
  /** When the last part was taken. */
  takenAtMs: number;
  wroteAtMs: number;
  isNew: boolean;
};

export class EventStreams {
  #options: EventStreamsOptions;
  #streams = new Set<Stream>();
  #timer: NodeJS.Timeout | undefined;
  #looking = false;
  #stopped = false;
  #encoder = new TextEncoder();

  constructor(options: EventStreamsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#streams.size;
  }

  /** Undefined where as many watch as may. */
  open(watcher: Watcher): ReadableStream<Uint8Array> | undefined {
    const mine = [...this.#streams].filter((one) => one.watcher.id === watcher.id).length;
    if (this.#stopped || this.#streams.size >= STREAMS_MAX || mine >= STREAMS_EACH_MAX) {
      return undefined;
    }
    let stream: Stream;
    return new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          const nowMs = this.#options.now();
          const takenAtMs = nowMs;
          stream = { watcher, controller, takenAtMs, wroteAtMs: nowMs, isNew: true };
          this.#streams.add(stream);
          void this.#turn();
        },
        pull: () => {
          stream.takenAtMs = this.#options.now();
        },
        cancel: () => this.#drop(stream),
      },
      // One part stands in line; what the socket holds beside it is bounded by itself.
      { highWaterMark: 1 },
    );
  }

  /** Ends those that are over, at once. */
  sweep(): void {
    for (const stream of this.#streams) if (stream.watcher.isOver()) this.#end(stream);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    for (const stream of [...this.#streams]) this.#end(stream);
  }

  async #turn(): Promise<void> {
    if (this.#looking || this.#stopped) return;
    this.#looking = true;
    clearTimeout(this.#timer);
    const { look, now, everyMs = EVERY_MS } = this.#options;
    const beganAtMs = now();
    try {
      this.sweep();
      if (this.#streams.size === 0) return;
      const picture = await look();
      this.sweep();
      for (const stream of [...this.#streams]) this.#tell(stream, picture);
    } finally {
      this.#looking = false;
      if (this.#streams.size > 0 && !this.#stopped) {
        const waitMs = Math.max(0, everyMs - (now() - beganAtMs));
        this.#timer = setTimeout(() => void this.#turn(), waitMs).unref();
      }
    }
  }

  #tell(stream: Stream, picture: WorldPicture): void {
    const { controller, watcher, takenAtMs, wroteAtMs } = stream;
    const nowMs = this.#options.now();
    if ((controller.desiredSize ?? 0) > 0) {
      const data = JSON.stringify(watcher.state(picture));
      const first = stream.isNew ? `retry: ${RETRY_MS}\n` : '';
      stream.isNew = false;
      this.#write(stream, `${first}event: state\nid: ${picture.atMs}\ndata: ${data}\n\n`);
    } else if (nowMs - takenAtMs > STUCK_MS_MAX) {
      this.#end(stream);
    } else if (nowMs - wroteAtMs > HEARTBEAT_MS) {
      // It stands in line behind what was not taken, and there are four of them at most.
      this.#write(stream, ': still here\n\n');
    }
  }

  #write(stream: Stream, text: string): void {
    stream.wroteAtMs = this.#options.now();
    stream.controller.enqueue(this.#encoder.encode(text));
  }

  #end(stream: Stream): void {
    this.#drop(stream);
    stream.controller.close();
  }

  #drop(stream: Stream): void {
    this.#streams.delete(stream);
    if (this.#streams.size === 0) clearTimeout(this.#timer);
  }
}
