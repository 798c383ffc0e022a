/**
 * How do bytes get from one socket to the other, past the toxics of that direction?
 *
 *     source --read--> seat: latency --> seat: bandwidth --> sink --write--> destination
 *        ^  pause / resume                                     |
 *        +---------------- room ahead? <-----------------------+  drain
 *
 * One seat per toxic, in the order of their creation; without toxics the source feeds the sink.
 * Toxics come and go while data flows. Each change happens between two events: the seat lets go
 * of what it held, its queue moves on to the next one, and no byte is lost or overtaken.
 */
import type { Duplex } from 'node:stream';
import { type Feeder, type Inlet, Seat, type Toxic, type World } from './seat.ts';
import type { Item } from './stage.ts';

/** Node reads up to 64 KiB at once. Toxics cut and count per chunk, so chunks are of this size. */
const CHUNK_BYTES_MAX = 32_768;

/**
 * Bytes the destination may owe before the source is no longer read. Seats are polite and stay far
 * below; what passes it is a queue let go at once, again and again, onto a receiver that stalls.
 */
const BACKLOG_BYTES_MAX = 8 * CHUNK_BYTES_MAX;

export type ChainEnds = {
  source: Duplex;
  destination: Duplex;
  /** Everything is written and the stream is over; the destination is to be closed. */
  onEnd(): void;
};

export class Chain implements Feeder {
  readonly #world: World;
  readonly #source: Duplex;
  readonly #sink: Sink;
  readonly #seats: Seat[] = [];
  #first: Inlet;
  #paused = true;

  constructor({ source, destination, onEnd }: ChainEnds, toxics: readonly Toxic[], world: World) {
    this.#world = world;
    this.#source = source;
    this.#sink = new Sink(destination, onEnd, () => this.roomAhead());
    this.#first = this.#sink;
    for (const toxic of toxics) this.#seats.push(this.#seat(toxic));
    this.#link();
    for (const seat of this.#seats) seat.start();

    source.on('data', (data: Buffer) => this.#read(data));
    source.on('end', () => this.sourceEnded());
    // An RST and our own close end the stream as a FIN does.
    source.on('close', () => this.sourceEnded());
  }

  /** Starts to read. Until then the sockets may be handed around without losing a byte. */
  open(): void {
    this.roomAhead();
  }

  sourceEnded(): void {
    this.#first.accept('end');
  }

  roomAhead(): void {
    if (!this.#paused || !this.#mayRead()) return;
    this.#paused = false;
    this.#source.resume();
  }

  add(toxic: Toxic): void {
    const before = this.#seats.at(-1);
    const seat = this.#seat(toxic);
    this.#seats.push(seat);
    this.#link();
    seat.start();
    before?.restart();
    (before ?? this).roomAhead();
  }

  update(toxic: Toxic): void {
    this.#seats.find((seat) => seat.toxic === toxic)?.restart();
  }

  remove(toxic: Toxic): void {
    const index = this.#seats.findIndex((seat) => seat.toxic === toxic);
    const seat = this.#seats[index];
    // One that cannot be stopped stays where it is: it is about to close this connection.
    if (seat === undefined || !seat.stop()) return;
    this.#seats.splice(index, 1);
    this.#link();
    for (const item of seat.leftovers()) seat.next.accept(item);
    if (toxic.kind.closesWhenRemoved) seat.next.accept('end');
    const before = this.#seats[index - 1];
    before?.restart();
    (before ?? this).roomAhead();
  }

  dispose(): void {
    for (const seat of this.#seats) seat.dispose();
  }

  #seat(toxic: Toxic): Seat {
    return new Seat(toxic, this.#world, { previous: this, next: this.#sink });
  }

  #link(): void {
    let previous: Feeder = this;
    for (const [index, seat] of this.#seats.entries()) {
      seat.previous = previous;
      seat.next = this.#seats[index + 1] ?? this.#sink;
      previous = seat;
    }
    this.#sink.previous = previous;
    this.#first = this.#seats[0] ?? this.#sink;
  }

  #read(data: Buffer): void {
    const atMs = this.#world.nowMs();
    if (data.length <= CHUNK_BYTES_MAX) this.#first.accept({ data, atMs });
    else {
      for (let at = 0; at < data.length; at += CHUNK_BYTES_MAX) {
        this.#first.accept({ data: data.subarray(at, at + CHUNK_BYTES_MAX), atMs });
      }
    }
    if (this.#mayRead()) return;
    this.#paused = true;
    this.#source.pause();
  }

  #mayRead(): boolean {
    return this.#first.hasRoom() && this.#sink.backlogBytes <= BACKLOG_BYTES_MAX;
  }
}

/** The last place in a chain: writes to the destination, and swallows what it no longer takes. */
class Sink implements Inlet {
  previous: Feeder | undefined;
  readonly #destination: Duplex;
  readonly #onEnd: () => void;
  #ended = false;

  constructor(destination: Duplex, onEnd: () => void, onRoom: () => void) {
    this.#destination = destination;
    this.#onEnd = onEnd;
    const room = () => {
      this.previous?.roomAhead();
      onRoom();
    };
    destination.on('drain', room);
    // The source has to be read on: only so will it ever be seen to end.
    destination.on('close', room);
  }

  get backlogBytes(): number {
    return this.#destination.destroyed ? 0 : this.#destination.writableLength;
  }

  accept(item: Item): void {
    if (this.#ended) return;
    if (item !== 'end') {
      if (this.#destination.writable) this.#destination.write(item.data, this.#written);
      return;
    }
    this.#ended = true;
    this.#closeWhenWritten();
  }

  hasRoom(): boolean {
    return this.#ended || !this.#destination.writable || !this.#destination.writableNeedDrain;
  }

  #written = (): void => {
    if (this.#ended) this.#closeWhenWritten();
  };

  /** A socket that is reset or destroyed forgets what it could not yet give to the kernel. */
  #closeWhenWritten(): void {
    if (this.#destination.destroyed || this.#destination.writableLength === 0) this.#onEnd();
  }
}
