/**
 * What does a PostgreSQL server hand to somebody who speaks its replication protocol?
 *
 * Base backups, the log as bytes, the log as decoded rows, and plain SQL, with any login. What is
 * looked at and thrown away is read here; who keeps what comes (`log-stream.ts`, `base-backup.ts`)
 * takes it part by part through `converse`. The driver speaks none of the streams, and `pg_basebackup` asks in
 * a way that proves nothing (`replication=true`, which `pg_hba` treats apart). Everything is bounded
 * in time and bytes, and what the server refuses is a value with its SQLSTATE.
 */
import { randomBytes } from 'node:crypto';
import net from 'node:net';
import { formatLsn, type Lsn, lsnFromPostgres } from './position.ts';
import type { Endpoint } from './postgres.ts';
import { codeOf, type ForeignError, rejection } from './postgres-failure.ts';
import { isEncrypting, prepareTls, startTls, tlsInWords } from './postgres-tls.ts';
import { firstMessage, type Proof, prove, SCRAM, serverIsGenuine } from './scram.ts';
import { TarFiles } from './tar-files.ts';

/** A decoded row can be large; a length beyond this is not the protocol that we speak. */
const MESSAGE_BYTES_MAX = 256 * 1024 * 1024;
/** Bytes that wait for a slow reader before the socket is told to wait. */
const QUEUE_BYTES_MAX = 8 * 1024 * 1024;

/** `replication=database`, `replication=true`, or an ordinary session. */
export type SessionKind = 'database' | 'physical' | 'plain';

export type OpenOptions = {
  as: SessionKind;
  timeoutMs: number;
  /** As which the server lists the session; by default the audit. */
  name?: string;
};

export type Failed = { kind: 'failed'; failure: ReplicationFailure };
export type ReplicationFailure =
  /** `why` names the node and what is wrong with its TLS. */
  | { kind: 'connect-failed'; code: string; why?: string }
  /** The server said no. */
  | { kind: 'rejected'; sqlstate: string; message: string }
  | { kind: 'deadline' }
  | { kind: 'connection-lost'; code: string }
  | { kind: 'not-understood'; said: string };

/** One row as text, by column name. */
export type TextRow = Readonly<Record<string, string | null>>;
export type Queried = { kind: 'rows'; rows: readonly TextRow[] } | Failed;

/** Told true, the stream is left: the reader has what it wanted. */
export type Enough = boolean | undefined;

/** `rows` are those of all result sets before and after the stream, in order. */
export type Conversed = { kind: 'over'; rows: readonly TextRow[] } | { kind: 'left' } | Failed;

export type StreamLimits = { timeoutMs: number; bytesMax: number };
export type Streamed =
  /** `bytes` counts what the reader was given. After `enough` and `bytes` the session is over. */
  { kind: 'streamed'; ended: 'complete' | 'enough' | 'bytes'; bytes: number } | Failed;

export type LogStream = StreamLimits & {
  slot: string | undefined;
  from: Lsn;
  /** Ends the stream once the server has sent everything before this position. */
  until: Lsn;
};

type Message = { type: string; body: Buffer };

export class ReplicationSession {
  readonly #socket: net.Socket;
  readonly #inbox: Inbox;
  readonly #options: OpenOptions;

  private constructor(socket: net.Socket, options: OpenOptions) {
    this.#socket = socket;
    this.#inbox = new Inbox(socket);
    this.#options = options;
  }

  static async open(
    endpoint: Endpoint,
    options: OpenOptions,
  ): Promise<{ kind: 'open'; session: ReplicationSession } | Failed> {
    prepareTls(endpoint.tls);
    const begunMs = performance.now();
    const dialled = await dial(endpoint, options.timeoutMs);
    if ('kind' in dialled) return dialled;
    const session = new ReplicationSession(dialled.socket, options);
    const leftMs = Math.max(1, options.timeoutMs - (performance.now() - begunMs));
    const failure = await session.#within(leftMs, () => session.#start(endpoint));
    if (failure === undefined) return { kind: 'open', session };
    session.close();
    return failure;
  }

  close(): void {
    this.#socket.destroy();
  }

  /** Statements in one simple query; the rows of all of them, in order. */
  query(statement: string, timeoutMs = this.#options.timeoutMs): Promise<Queried> {
    return this.#within(timeoutMs, async () => {
      this.#send('Q', cString(statement));
      const rows: TextRow[] = [];
      const outcome = await this.#answers(rows, () => undefined);
      return typeof outcome === 'object' ? outcome : { kind: 'rows', rows };
    });
  }

  /**
   * One statement whose answer may be a stream in both directions. `take` gets one part a time, and
   * no more is read from the socket while it works. A server that stays silent for longer than the
   * limit has gone. Resolves with the rows around the stream; after `enough` the session is over.
   */
  async converse(
    statement: string,
    silenceMs: number,
    take: (part: Buffer) => Promise<Enough> | Enough,
  ): Promise<Conversed> {
    this.#send('Q', cString(statement));
    const rows: TextRow[] = [];
    const outcome = await this.#answers(
      rows,
      async (part) => ((await take(part)) === true ? 'enough' : undefined),
      silenceMs,
    );
    if (typeof outcome === 'object') return outcome;
    if (outcome === undefined) return { kind: 'over', rows };
    this.close();
    return { kind: 'left' };
  }

  /** A part of a stream in both directions. */
  tell(part: Buffer): void {
    this.#send('d', part);
  }

  /** `COPY … TO STDOUT`; the reader gets one row a time. */
  copyOut(
    statement: string,
    limits: StreamLimits,
    read: (row: Buffer) => Enough,
  ): Promise<Streamed> {
    return this.#stream(statement, limits, (part) => [read(part), part.length]);
  }

  /** `BASE_BACKUP`: every file of the cluster, with or without the log it needs. */
  baseBackup(
    { wal, ...limits }: StreamLimits & { wal: boolean },
    read: (file: string, bytes: Buffer) => Enough,
  ): Promise<Streamed> {
    const options = `LABEL 'domicile', CHECKPOINT 'fast', WAL ${wal}, MANIFEST 'no'`;
    let files = new TarFiles();
    return this.#stream(`BASE_BACKUP (${options})`, limits, (part) => {
      // `n` begins an archive (one for each tablespace), `d` is a piece of it, `p` progress.
      if (part[0] === 0x6e) files = new TarFiles();
      if (part[0] !== 0x64) return [undefined, 0];
      let enough: Enough;
      for (const { name, bytes } of files.push(part.subarray(1))) {
        enough ||= read(name, bytes);
      }
      return [enough, part.length - 1];
    });
  }

  /** The log as bytes, from a position on. */
  async physicalLog(
    { slot, from, until, ...limits }: LogStream,
    read: (bytes: Buffer) => Enough,
  ): Promise<Streamed> {
    const through = slot === undefined ? '' : `SLOT ${slot} `;
    const statement = `START_REPLICATION ${through}PHYSICAL ${formatLsn(from)}`;
    const lastOf = (start: Lsn, bytes: Buffer) => start + BigInt(bytes.length);
    return this.#stream(statement, limits, this.#logReader(until, lastOf, read));
  }

  /** The log as an output plugin writes it, from a slot that was made with that plugin. */
  async logicalLog(
    { slot, from, until, options = {}, ...limits }: LogicalStream,
    read: (bytes: Buffer) => Enough,
  ): Promise<Streamed> {
    const words = Object.entries(options).map(([name, value]) => `"${name}" '${value}'`);
    const list = words.length === 0 ? '' : ` (${words.join(', ')})`;
    const statement = `START_REPLICATION SLOT ${slot} LOGICAL ${formatLsn(from)}${list}`;
    // A decoded change has one position, however long its text is.
    return this.#stream(
      statement,
      limits,
      this.#logReader(until, (start) => start, read),
    );
  }

  /** `w` carries log, `k` says how far the server has come and may ask for a sign of life. */
  #logReader(
    until: Lsn,
    lastOf: (start: Lsn, bytes: Buffer) => Lsn,
    read: (bytes: Buffer) => Enough,
  ): Reader {
    return (part) => {
      if (part[0] === 0x77) {
        const bytes = part.subarray(25);
        const enough = read(bytes);
        const over = lastOf(part.readBigUInt64BE(1), bytes) >= until;
        return [enough === true || over, bytes.length];
      }
      if (part[0] !== 0x6b) return [undefined, 0];
      const reached = part.readBigUInt64BE(1);
      if (part[17] === 1) this.#signOfLife(reached);
      return [reached >= until, 0];
    };
  }

  /** Without a flushed position, so that a slot keeps what it keeps. */
  #signOfLife(received: Lsn): void {
    const body = Buffer.alloc(34);
    body.write('r', 0, 'latin1');
    body.writeBigUInt64BE(received, 1);
    this.#send('d', body);
  }

  #stream(statement: string, limits: StreamLimits, read: Reader): Promise<Streamed> {
    return this.#within(limits.timeoutMs, async () => {
      this.#send('Q', cString(statement));
      let bytes = 0;
      const outcome = await this.#answers([], (part) => {
        const [enough, size] = read(part);
        bytes += size;
        if (enough === true) return 'enough';
        return bytes > limits.bytesMax ? 'bytes' : undefined;
      });
      if (typeof outcome !== 'string') {
        return outcome ?? { kind: 'streamed', ended: 'complete', bytes };
      }
      this.close();
      return { kind: 'streamed', ended: outcome, bytes };
    });
  }

  /** Undefined when the server is ready for the next statement. */
  async #answers(
    rows: TextRow[],
    onData: (part: Buffer) => StreamEnd | Promise<StreamEnd>,
    silenceMs?: number,
  ): Promise<Failed | 'enough' | 'bytes' | undefined> {
    let columns: readonly string[] = [];
    let bothWays = false;
    let refused: Failed | undefined;
    for (;;) {
      const message =
        silenceMs === undefined
          ? await this.#inbox.next()
          : await this.#within(silenceMs, () => this.#inbox.next());
      // A server that ends the session says why first.
      if ('failure' in message) return refused ?? message;
      const { type, body } = message;
      if (type === 'Z') return refused;
      if (type === 'E') refused ??= refusal(body);
      else if (type === 'T') columns = columnNames(body);
      else if (type === 'D') rows.push(textRow(columns, body));
      else if (type === 'd') {
        const over = await onData(body);
        if (over !== undefined) return over;
      } else if (type === 'W') bothWays = true;
      // A stream that goes both ways is over once both have said so.
      else if (type === 'c' && bothWays) this.#send('c', Buffer.alloc(0));
      else if (type === 'G') return notUnderstood('the server asks for data');
      // Else: notices, settings, the beginning and end of copies and commands.
    }
  }

  async #start({ user, password, database }: Endpoint): Promise<Failed | undefined> {
    const words = {
      user,
      database,
      ...(this.#options.as === 'database' && { replication: 'database' }),
      ...(this.#options.as === 'physical' && { replication: 'true' }),
      application_name: this.#options.name ?? 'domicile audit',
      client_encoding: 'UTF8',
    };
    const text = Object.entries(words).map(([name, value]) => `${name}\0${value}\0`);
    const body = Buffer.from(`${text.join('')}\0`);
    const head = Buffer.alloc(8);
    head.writeInt32BE(body.length + 8, 0);
    // Version 3.0 of the protocol.
    head.writeInt32BE(3 << 16, 4);
    this.#socket.write(Buffer.concat([head, body]));

    const nonce = randomBytes(18).toString('base64');
    let proof: Proof | undefined;
    let genuine = false;
    for (;;) {
      const message = await this.#inbox.next();
      if ('failure' in message) return message;
      const { type, body: said } = message;
      if (type === 'E') return refusal(said);
      if (type === 'Z') return undefined;
      if (type !== 'R') continue;
      const step = said.readInt32BE(0);
      const words = said.subarray(4).toString();
      if (step === 0) {
        // A server that lets everybody in has proved nothing, and may: it was told no secret.
        if (proof !== undefined && !genuine) return notUnderstood('the server proved nothing');
      } else if (step === 10 && words.split('\0').includes(SCRAM)) {
        const first = Buffer.from(firstMessage(nonce));
        const length = Buffer.alloc(4);
        length.writeInt32BE(first.length);
        this.#send('p', Buffer.concat([cString(SCRAM), length, first]));
      } else if (step === 11) {
        proof = prove(password, nonce, words);
        if (proof === undefined) return notUnderstood('a challenge that is not sound');
        this.#send('p', Buffer.from(proof.message));
      } else if (step === 12) {
        genuine = proof !== undefined && serverIsGenuine(proof, words);
        if (!genuine) return notUnderstood('the server does not know the password');
      } else return notUnderstood(`authentication method ${step}`);
    }
  }

  #send(type: string, body: Buffer): void {
    const head = Buffer.alloc(5);
    head.write(type, 0, 'latin1');
    head.writeInt32BE(body.length + 4, 1);
    this.#socket.write(Buffer.concat([head, body]));
  }

  async #within<T>(timeoutMs: number, run: () => Promise<T>): Promise<T> {
    const limit = setTimeout(() => this.#inbox.end({ kind: 'deadline' }), timeoutMs);
    try {
      return await run();
    } finally {
      clearTimeout(limit);
    }
  }
}

/** With TLS it is secured when this resolves; in plain text it may still dial. */
async function dial(
  { name, host, port, tls, serverName = host }: Endpoint,
  timeoutMs: number,
): Promise<{ socket: net.Socket } | Failed> {
  const socket = net.connect({ host, port, noDelay: true });
  if (!isEncrypting(tls)) return { socket };
  let late = false;
  const limit = setTimeout(() => {
    late = true;
    socket.destroy();
  }, timeoutMs);
  try {
    return { socket: await startTls(socket, serverName, tls) };
  } catch (error) {
    if (late) return { kind: 'failed', failure: { kind: 'deadline' } };
    const code = codeOf(error as ForeignError);
    const words = tlsInWords(code);
    const why = words === undefined ? {} : { why: `${name} at ${host}:${port}: ${words}` };
    return { kind: 'failed', failure: { kind: 'connect-failed', code, ...why } };
  } finally {
    clearTimeout(limit);
  }
}

export type LogicalStream = LogStream & {
  slot: string;
  options?: Readonly<Record<string, string>>;
};

type StreamEnd = 'enough' | 'bytes' | undefined;

/** Whether to stop, and how many bytes the reader was given. */
type Reader = (part: Buffer) => [Enough, number];

/** What the server has sent and nobody has read yet. */
class Inbox {
  readonly #socket: net.Socket;
  #chunks: Buffer[] = [];
  #size = 0;
  #failure: ReplicationFailure | undefined;
  #established = false;
  #wake: (() => void) | undefined;

  constructor(socket: net.Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#established = true;
      this.#chunks.push(chunk);
      this.#size += chunk.length;
      if (this.#size > QUEUE_BYTES_MAX) socket.pause();
      this.#wake?.();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      const code = error.code ?? error.name;
      this.end({ kind: this.#established ? 'connection-lost' : 'connect-failed', code });
    });
    socket.on('close', () => this.end({ kind: 'connection-lost', code: 'CLOSED' }));
  }

  end(failure: ReplicationFailure): void {
    this.#failure ??= failure;
    this.#socket.destroy();
    this.#wake?.();
  }

  async next(): Promise<Message | Failed> {
    for (;;) {
      const message = this.#take();
      if (message !== undefined) return message;
      if (this.#failure !== undefined) return { kind: 'failed', failure: this.#failure };
      this.#socket.resume();
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #take(): Message | Failed | undefined {
    const head = this.#peek(5);
    if (head === undefined) return undefined;
    const length = head.readInt32BE(1);
    if (length < 4 || length > MESSAGE_BYTES_MAX) {
      this.end({ kind: 'not-understood', said: `a message of ${length} bytes` });
      return undefined;
    }
    const whole = this.#peek(length + 1);
    if (whole === undefined) return undefined;
    this.#drop(length + 1);
    return { type: String.fromCharCode(whole[0] ?? 0), body: whole.subarray(5, length + 1) };
  }

  #peek(bytes: number): Buffer | undefined {
    if (this.#size < bytes) return undefined;
    const [first] = this.#chunks;
    if (first !== undefined && first.length >= bytes) return first;
    const all = Buffer.concat(this.#chunks);
    this.#chunks = [all];
    return all;
  }

  #drop(bytes: number): void {
    const [first] = this.#chunks;
    this.#size -= bytes;
    if (first === undefined || first.length === bytes) this.#chunks.shift();
    else this.#chunks[0] = first.subarray(bytes);
  }
}

/** Makes a physical slot that keeps the log from now on; answers with where it begins. */
export async function makePhysicalSlot(
  session: ReplicationSession,
  slot: string,
): Promise<{ kind: 'made' } | Failed> {
  const made = await session.query(`CREATE_REPLICATION_SLOT ${slot} PHYSICAL (RESERVE_WAL true)`);
  return made.kind === 'failed' ? made : { kind: 'made' };
}

export type System = { systemId: string; timeline: number; flushed: Lsn };

/** `IDENTIFY_SYSTEM`: whose log this is and how far it has come. */
export async function identifySystem(
  session: ReplicationSession,
): Promise<({ kind: 'identified' } & System) | Failed> {
  const answer = await session.query('IDENTIFY_SYSTEM');
  if (answer.kind === 'failed') return answer;
  const [row] = answer.rows;
  if (row === undefined) return notUnderstood('IDENTIFY_SYSTEM without an answer');
  return {
    kind: 'identified',
    systemId: row.systemid ?? '',
    timeline: Number(row.timeline),
    flushed: lsnFromPostgres(row.xlogpos ?? ''),
  };
}

/** A failure in one line, for a person. */
export function failureInWords(failure: ReplicationFailure): string {
  switch (failure.kind) {
    case 'connect-failed':
      return failure.why ?? `could not connect (${failure.code})`;
    case 'rejected':
      return `refused (${failure.sqlstate}): ${failure.message}`;
    case 'deadline':
      return 'no answer in time';
    case 'connection-lost':
      return `the connection was lost (${failure.code})`;
    case 'not-understood':
      return `not understood: ${failure.said}`;
  }
}

function notUnderstood(said: string): Failed {
  return { kind: 'failed', failure: { kind: 'not-understood', said } };
}

/** Fields of an ErrorResponse: a letter, text, zero. Its words pass the same filter as the driver's. */
function refusal(body: Buffer): Failed {
  const fields = Object.fromEntries(
    body
      .toString()
      .split('\0')
      .filter((field) => field !== '')
      .map((field) => [field[0] ?? '', field.slice(1)]),
  );
  const { sqlstate, message } = rejection({
    code: fields.C,
    message: fields.M,
    routine: fields.R,
  });
  return { kind: 'failed', failure: { kind: 'rejected', sqlstate, message } };
}

function columnNames(body: Buffer): string[] {
  const names: string[] = [];
  for (let at = 2; at < body.length; ) {
    const end = body.indexOf(0, at);
    names.push(body.toString('utf8', at, end));
    // After the name: table, column, type, size, modifier, format.
    at = end + 1 + 18;
  }
  return names;
}

function textRow(columns: readonly string[], body: Buffer): TextRow {
  const row: Record<string, string | null> = {};
  let at = 2;
  for (const name of columns) {
    const length = body.readInt32BE(at);
    at += 4;
    row[name] = length < 0 ? null : body.toString('utf8', at, at + length);
    at += Math.max(length, 0);
  }
  return row;
}

function cString(text: string): Buffer {
  return Buffer.from(`${text}\0`);
}
