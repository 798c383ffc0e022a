/**
 * Is it worth a try to reach this neighbour?
 *
 * A neighbour that has failed several times in a row is passed over at once, so that it costs no
 * request its connect timeout. One probe at a time finds out whether it is back, after pauses that
 * grow. What the failures are, and how a probe is sent, is the business of whoever keeps the value.
 */

/** A single lost request is no pattern; three in a row, with nothing heard between them, are. */
const FAILURES_MAX = 3;
/** An edge that restarts is away for about this long. */
export const PAUSE_MS_MIN = 250;
/** After a long outage the neighbour is used again at most this much, and a probe, later. */
export const PAUSE_MS_MAX = 2_000;
/** A probe that has not reported by then is lost; another one may go out. */
export const PROBE_MS_MAX = 1_000;

export type Circuit =
  | { kind: 'closed'; heardAtMs: number; failures: number; pauseMs: number }
  | { kind: 'open'; heardAtMs: number; untilMs: number; pauseMs: number }
  | { kind: 'half_open'; heardAtMs: number; probedAtMs: number; pauseMs: number };

export type Stance =
  | { kind: 'pass' }
  /** Nobody passes, and somebody should send a probe, having said so with `probing`. */
  | { kind: 'probe'; retryAfterMs: number }
  | { kind: 'pass_over'; retryAfterMs: number };

export const FRESH_CIRCUIT: Circuit = {
  kind: 'closed',
  heardAtMs: Number.NEGATIVE_INFINITY,
  failures: 0,
  pauseMs: PAUSE_MS_MIN,
};

export function stance(circuit: Circuit, nowMs: number): Stance {
  switch (circuit.kind) {
    case 'closed':
      return { kind: 'pass' };
    case 'open':
      return nowMs >= circuit.untilMs
        ? { kind: 'probe', retryAfterMs: PROBE_MS_MAX }
        : { kind: 'pass_over', retryAfterMs: circuit.untilMs - nowMs };
    case 'half_open': {
      const leftMs = circuit.probedAtMs + PROBE_MS_MAX - nowMs;
      return leftMs <= 0
        ? { kind: 'probe', retryAfterMs: PROBE_MS_MAX }
        : { kind: 'pass_over', retryAfterMs: leftMs };
    }
  }
}

/** A probe goes out now. Until it reports, or is lost, there is no other. */
export function probing(circuit: Circuit, nowMs: number): Circuit {
  if (stance(circuit, nowMs).kind !== 'probe') return circuit;
  const { heardAtMs, pauseMs } = circuit;
  return { kind: 'half_open', heardAtMs, probedAtMs: nowMs, pauseMs };
}

/**
 * The neighbour has said something, whatever it was. After a probe it is on trial: the first
 * request that fails opens the circuit again, for longer than before.
 */
export function heard(circuit: Circuit, nowMs: number): Circuit {
  const heardAtMs = Math.max(circuit.heardAtMs, nowMs);
  return circuit.kind === 'closed'
    ? { kind: 'closed', heardAtMs, failures: 0, pauseMs: PAUSE_MS_MIN }
    : { kind: 'closed', heardAtMs, failures: FAILURES_MAX - 1, pauseMs: longer(circuit.pauseMs) };
}

/**
 * Something that was begun at `beganAtMs` found no connection, or no answer in its time. It says
 * nothing when the neighbour has been heard since, and nothing new when the circuit has opened since.
 */
export function failed(circuit: Circuit, beganAtMs: number, nowMs: number): Circuit {
  const { heardAtMs, pauseMs } = circuit;
  if (beganAtMs < heardAtMs) return circuit;
  switch (circuit.kind) {
    case 'closed': {
      const failures = circuit.failures + 1;
      if (failures < FAILURES_MAX) return { kind: 'closed', heardAtMs, failures, pauseMs };
      return { kind: 'open', heardAtMs, untilMs: nowMs + pauseMs, pauseMs };
    }
    case 'open':
      return circuit;
    case 'half_open': {
      if (beganAtMs < circuit.probedAtMs) return circuit;
      const next = longer(pauseMs);
      return { kind: 'open', heardAtMs, untilMs: nowMs + next, pauseMs: next };
    }
  }
}

function longer(pauseMs: number): number {
  return Math.min(PAUSE_MS_MAX, pauseMs * 2);
}
