/**
 * How is a server's write-ahead log received so that it can be kept?
 *
 * Over the replication protocol, from a position on one timeline to wherever the server gets. What
 * is durable here is confirmed to the server, which keeps everything after it in its slot. When
 * the timeline is over, the server says which one follows; whoever keeps the log goes on there.
 */
import { formatLsn, type Lsn, lsnFromPostgres } from './position.ts';
import type { Failed, ReplicationSession } from './replication-client.ts';

/** Confirming makes the received log durable first; what comes within this is confirmed at once. */
const GATHER_MS = 20;
/** A server that has nothing to send answers a confirmation that asks for it. */
const ASK_EVERY_MS = 1_000;
const SILENCE_MS_MAX = 6_000;

export type LogSink = {
  /** Pieces follow each other without a gap. */
  write(start: Lsn, bytes: Buffer): Promise<void>;
  /** Makes everything durable that was written; answers with the position after it. */
  flush(): Promise<Lsn>;
};

export type LogFrom = { slot: string; timeline: number; from: Lsn };

export type LogEnd =
  /** The server has left this timeline at a position, and so has everybody who follows it. */
  { kind: 'timeline-over'; next: { timeline: number; at: Lsn } } | { kind: 'stopped' } | Failed;

/** What the sink throws (a full disk) is thrown, after the session was closed. */
export async function receiveLog(
  session: ReplicationSession,
  { slot, timeline, from }: LogFrom,
  sink: LogSink,
  ending: AbortSignal,
): Promise<LogEnd> {
  let broken: unknown;
  let last = Promise.resolve();
  // Writing and confirming take turns: a segment may be closed by the one and not under the other.
  const inTurn = (work: () => Promise<void>): Promise<void> => {
    last = last.then(work);
    last.catch((error) => {
      broken ??= error;
      session.close();
    });
    return last;
  };
  let received = from;
  let confirmed: Lsn | undefined;
  let gathering: NodeJS.Timeout | undefined;
  const confirm = (ask: boolean) =>
    inTurn(async () => {
      const flushed = await sink.flush();
      if (!ask && flushed === confirmed) return;
      confirmed = flushed;
      session.tell(statusUpdate(received, flushed, ask));
    });
  const beat = setInterval(() => void confirm(true).catch(() => {}), ASK_EVERY_MS);
  const confirmSoon = () => {
    gathering ??= setTimeout(() => {
      gathering = undefined;
      void confirm(false).catch(() => {});
    }, GATHER_MS);
  };
  const leave = () => session.close();
  ending.addEventListener('abort', leave);
  try {
    ending.throwIfAborted();
    const outcome = await session.converse(
      `START_REPLICATION SLOT ${slot} PHYSICAL ${formatLsn(from)} TIMELINE ${timeline}`,
      SILENCE_MS_MAX,
      async (part) => {
        if (part[0] === 0x77) {
          const start = part.readBigUInt64BE(1);
          const bytes = part.subarray(25);
          await inTurn(() => sink.write(start, bytes));
          received = start + BigInt(bytes.length);
          confirmSoon();
        } else if (part[0] === 0x6b && part[17] === 1) {
          // A server that shuts down waits for this answer.
          await confirm(false);
          session.tell(statusUpdate(received, confirmed ?? from, false));
        }
        return undefined;
      },
    );
    if (ending.aborted) return { kind: 'stopped' };
    if (broken !== undefined) throw broken;
    if (outcome.kind === 'failed') return outcome;
    const next = outcome.kind === 'over' ? outcome.rows.at(-1) : undefined;
    if (next?.next_tli == null || next.next_tli_startpos == null) {
      const failure = {
        kind: 'not-understood',
        said: 'the log ended without a successor',
      } as const;
      return { kind: 'failed', failure };
    }
    await confirm(false);
    return {
      kind: 'timeline-over',
      next: { timeline: Number(next.next_tli), at: lsnFromPostgres(next.next_tli_startpos) },
    };
  } catch (error) {
    if (broken !== undefined) throw broken;
    if (ending.aborted) return { kind: 'stopped' };
    throw error;
  } finally {
    clearInterval(beat);
    clearTimeout(gathering);
    ending.removeEventListener('abort', leave);
    await last.catch(() => {});
  }
}

/** Written, durable, applied (never), the clock (none), whether an answer is wanted. */
function statusUpdate(written: Lsn, flushed: Lsn, ask: boolean): Buffer {
  const body = Buffer.alloc(34);
  body.write('r', 0, 'latin1');
  body.writeBigUInt64BE(written, 1);
  body.writeBigUInt64BE(flushed, 9);
  body[33] = ask ? 1 : 0;
  return body;
}
