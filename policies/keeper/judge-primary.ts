/**
 * Is the primary gone, or is it only we who do not hear it?
 *
 * Silence towards one observer proves little: the observer may be cut off, or late itself. So the
 * primary counts as gone only when its own answers, its standbys and the edges of its region agree
 * for long enough. How long depends on the kind of silence: a machine that says "nobody listens"
 * knows, one that says nothing may only be slow.
 */
import type { Role } from '../../regions/sighting.ts';

/** Refused twice, a quarter of a second apart: nobody listens there. */
export const REFUSED_MS = 400;
/** Far above the answer of a busy machine, and short enough for a failover within three seconds. */
export const SILENT_MS = 1_500;
/** A server that starts again says so; it may be back sooner than another one would be promoted. */
export const STARTING_MS = 3_000;
/** Word of the primary that is younger than this says that it lives. */
export const HEARD_MS = 1_000;
/** An observer that was itself asleep for so long has not observed. */
export const STALL_MS = 500;

/** What one look at a node gave, and since when it has given that. */
export type NodeFacts = {
  node: string;
  state: NodeState;
  /** How long it has been in this kind of state, ms: silent at all, or seen at all. */
  forMs: number;
};

export type NodeState =
  | { kind: 'silent'; because: 'refused' | 'frozen' | 'no_answer' | 'starting' }
  | {
      kind: 'seen';
      role: Role;
      systemId: bigint;
      timeline: number;
      lsn: bigint;
      /** A primary's: whose acknowledgement its commits wait for, and who streams from it. */
      commitsWaitFor: readonly string[];
      streaming: readonly Streaming[];
      /** A replica's: how long ago its wal receiver heard from a primary; undefined: it has none. */
      heardMsAgo: number | undefined;
      /** A replica's: whether the feeds of other regions could go on from it. */
      feedsReady: boolean;
    };

export type Streaming = {
  node: string;
  /** Everything that the primary had flushed at the look before is flushed there. */
  isLevel: boolean;
};

export type PrimaryHealth =
  | { kind: 'serves' }
  /** Silent, but not for long enough. */
  | { kind: 'doubtful'; forMs: number; why: string }
  /** Others hear it: a fault between us and it, and no reason to act. */
  | { kind: 'hidden'; heardBy: string }
  | { kind: 'gone'; why: string };

export type Hearsay = {
  /** How long ago an edge of the region heard from the primary, ms; undefined when none answers. */
  edgesMsAgo: number | undefined;
};

export function judgePrimary(
  primary: NodeFacts | undefined,
  timeline: number,
  standbys: readonly NodeFacts[],
  { edgesMsAgo }: Hearsay,
): PrimaryHealth {
  if (primary === undefined) return { kind: 'doubtful', forMs: 0, why: 'it was not looked at yet' };
  const { state, forMs } = primary;
  if (state.kind === 'seen') {
    if (state.role === 'primary' && state.timeline === timeline) return { kind: 'serves' };
    return {
      kind: 'doubtful',
      forMs,
      why: `it says that it is a ${state.role} on timeline ${state.timeline}`,
    };
  }
  // What was heard before it fell silent for us proves nothing.
  const isRecent = (msAgo: number | undefined) =>
    msAgo !== undefined && msAgo < Math.min(HEARD_MS, forMs);
  if (isRecent(edgesMsAgo)) return { kind: 'hidden', heardBy: 'edges' };
  // What it hears may be another server: the primary before, or one that only passes the log on.
  const isFedByOther = (node: string) =>
    standbys.some(
      ({ state: other }) => other.kind === 'seen' && other.streaming.some((to) => to.node === node),
    );
  const hears = standbys.find(
    ({ node, state: standby }) =>
      standby.kind === 'seen' &&
      isRecent(standby.heardMsAgo) &&
      standby.timeline === timeline &&
      !isFedByOther(node),
  );
  if (hears !== undefined) return { kind: 'hidden', heardBy: hears.node };
  const { patienceMs, words } = SILENCES[state.because];
  const why = `${words} for ${Math.round(forMs)} ms`;
  return forMs < patienceMs ? { kind: 'doubtful', forMs, why } : { kind: 'gone', why };
}

const SILENCES = {
  refused: { patienceMs: REFUSED_MS, words: 'nobody listens at its address' },
  frozen: { patienceMs: SILENT_MS, words: 'it takes connections and answers nothing' },
  no_answer: { patienceMs: SILENT_MS, words: 'not even its machine answers' },
  starting: { patienceMs: STARTING_MS, words: 'it is starting or recovering' },
} as const;
