import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Circuit,
  FRESH_CIRCUIT,
  failed,
  heard,
  PAUSE_MS_MAX,
  PAUSE_MS_MIN,
  PROBE_MS_MAX,
  probing,
  stance,
} from './circuit.ts';

function afterFailures(count: number, atMs = 0): Circuit {
  let circuit = FRESH_CIRCUIT;
  for (let n = 0; n < count; n++) circuit = failed(circuit, atMs, atMs);
  return circuit;
}

const OPEN = afterFailures(3);

describe('a neighbour', () => {
  test('that failed twice is tried, and one that failed three times is not', () => {
    expect(stance(afterFailures(2), 0)).toEqual({ kind: 'pass' });
    expect(stance(OPEN, 0)).toEqual({ kind: 'pass_over', retryAfterMs: PAUSE_MS_MIN });
  });

  test('is not counted out by failures with an answer between them', () => {
    const circuit = failed(failed(heard(afterFailures(2), 1), 2, 2), 3, 3);
    expect(stance(circuit, 3)).toEqual({ kind: 'pass' });
  });

  test('that was heard since a request began is not counted out by that request', () => {
    const circuit = heard(FRESH_CIRCUIT, 10);
    const late = [1, 2, 3, 4].reduce((one) => failed(one, 9, 2_000), circuit);
    expect(late).toEqual(circuit);
    const begunThen = [1, 2, 3].reduce((one) => failed(one, 10, 2_000), circuit);
    expect(begunThen.kind).toBe('open');
  });

  test('is probed when the pause is over, not a millisecond before, and by one at a time', () => {
    expect(stance(OPEN, PAUSE_MS_MIN - 1)).toEqual({ kind: 'pass_over', retryAfterMs: 1 });
    expect(stance(OPEN, PAUSE_MS_MIN).kind).toBe('probe');
    expect(probing(OPEN, PAUSE_MS_MIN - 1)).toBe(OPEN);
    const probed = probing(OPEN, PAUSE_MS_MIN);
    expect(stance(probed, PAUSE_MS_MIN + PROBE_MS_MAX - 1)).toEqual({
      kind: 'pass_over',
      retryAfterMs: 1,
    });
    expect(stance(probed, PAUSE_MS_MIN + PROBE_MS_MAX).kind).toBe('probe');
  });

  test('whose probe failed rests twice as long, up to a bound', () => {
    const pauses: number[] = [];
    let circuit = OPEN;
    let nowMs = 0;
    for (let n = 0; n < 6; n++) {
      const stands = stance(circuit, nowMs);
      if (stands.kind !== 'pass_over') throw new Error(stands.kind);
      pauses.push(stands.retryAfterMs);
      nowMs += stands.retryAfterMs;
      circuit = probing(circuit, nowMs);
      circuit = failed(circuit, nowMs, nowMs);
    }
    expect(pauses).toEqual([250, 500, 1_000, 2_000, 2_000, 2_000]);
  });

  test('that is back is on trial: its next failure opens the circuit again, for longer', () => {
    const back = heard(probing(OPEN, 250), 260);
    expect(stance(back, 260).kind).toBe('pass');
    expect(failed(back, 261, 300)).toMatchObject({ kind: 'open', untilMs: 800 });
    const trusted = heard(back, 270);
    expect(failed(trusted, 271, 300).kind).toBe('closed');
  });

  test('that failed before it was probed is not judged by what began earlier', () => {
    const probed = probing(OPEN, 250);
    expect(failed(probed, 249, 260)).toBe(probed);
    expect(failed(probed, 250, 260).kind).toBe('open');
  });
});

type Event = { kind: 'fail' | 'hear' | 'probe'; afterMs: number; tookMs: number };
const events = fc.array(
  fc.record({
    kind: fc.constantFrom('fail', 'hear', 'probe'),
    afterMs: fc.integer({ min: 0, max: 1_500 }),
    tookMs: fc.integer({ min: 0, max: 3_000 }),
  }),
  { maxLength: 60 },
) as fc.Arbitrary<Event[]>;

/** Every value that the events lead through, with its time. */
function run(all: readonly Event[]): { circuit: Circuit; nowMs: number; event: Event }[] {
  let circuit = FRESH_CIRCUIT;
  let nowMs = 0;
  return all.map((event) => {
    nowMs += event.afterMs;
    if (event.kind === 'fail') circuit = failed(circuit, nowMs - event.tookMs, nowMs);
    else if (event.kind === 'hear') circuit = heard(circuit, nowMs);
    else circuit = probing(circuit, nowMs);
    return { circuit, nowMs, event };
  });
}

describe('whatever happens', () => {
  test('nobody is sent away for longer than the longest pause', () => {
    fc.assert(
      fc.property(events, (all) => {
        for (const { circuit, nowMs } of run(all)) {
          const stands = stance(circuit, nowMs);
          if (stands.kind === 'pass') continue;
          expect(stands.retryAfterMs).toBeGreaterThan(0);
          expect(stands.retryAfterMs).toBeLessThanOrEqual(PAUSE_MS_MAX);
          expect(circuit.pauseMs).toBeGreaterThanOrEqual(PAUSE_MS_MIN);
        }
      }),
    );
  });

  test('a probe comes due without any further event, and an answer to it lets all pass', () => {
    fc.assert(
      fc.property(events, (all) => {
        const last = run(all).at(-1);
        if (last === undefined || last.circuit.kind === 'closed') return;
        const laterMs = last.nowMs + PAUSE_MS_MAX;
        expect(stance(last.circuit, laterMs).kind).toBe('probe');
        const probed = probing(last.circuit, laterMs);
        expect(stance(heard(probed, laterMs), laterMs).kind).toBe('pass');
      }),
    );
  });

  test('two probes are never nearer than a lost one takes, unless the first has reported', () => {
    fc.assert(
      fc.property(events, (all) => {
        let probedAtMs: number | undefined;
        let before: Circuit = FRESH_CIRCUIT;
        for (const { circuit, nowMs, event } of run(all)) {
          if (event.kind === 'probe' && circuit !== before) {
            if (probedAtMs !== undefined) expect(nowMs - probedAtMs).toBeGreaterThanOrEqual(1_000);
            probedAtMs = nowMs;
          } else if (circuit.kind !== 'half_open') probedAtMs = undefined;
          before = circuit;
        }
      }),
    );
  });

  test('it opens only after failures that began after the last thing that was heard', () => {
    fc.assert(
      fc.property(events, (all) => {
        let before: Circuit = FRESH_CIRCUIT;
        for (const { circuit, nowMs, event } of run(all)) {
          if (circuit.kind === 'open' && before.kind !== 'open') {
            expect(event.kind).toBe('fail');
            expect(nowMs - event.tookMs).toBeGreaterThanOrEqual(before.heardAtMs);
          }
          before = circuit;
        }
      }),
    );
  });
});
