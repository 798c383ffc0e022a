import { expect, test } from 'vitest';
import type { RecordedSpan } from '../telemetry/telemetry.ts';
import { type Told, tellable, wholeTrace } from './whole-trace.ts';

type Kind = RecordedSpan['kind'];
const span = (
  spanId: string,
  parentSpanId: string | undefined,
  kind: Kind,
  [startedAtMs, durationMs]: readonly [number, number],
  attributes: RecordedSpan['attributes'] = {},
): RecordedSpan => ({
  spanId,
  parentSpanId,
  name: spanId,
  kind,
  startedAtMs,
  durationMs,
  error: false,
  attributes,
});

/** Met in us, sent on to eu, which asks asia; each by a clock that is off by so much. */
function told(offMs: { us?: number; eu?: number; asia?: number } = {}): Map<string, Told> {
  const { us = 0, eu = 0, asia = 0 } = offMs;
  const to = (region: string) => ({ 'domicile.to': region, 'domicile.errand': 'request' });
  return new Map<string, Told>([
    [
      'us',
      {
        kind: 'told',
        parts: [
          [
            span('u1', undefined, 'server', [1_000 + us, 100], { 'domicile.decision': 'forward' }),
            span('u2', 'u1', 'client', [1_002 + us, 96], to('eu')),
          ],
        ],
      },
    ],
    [
      'eu',
      {
        kind: 'told',
        parts: [
          [
            span('e1', 'u2', 'server', [1_045 + eu, 10], { 'domicile.from': 'us' }),
            span('e2', 'e1', 'client', [1_047 + eu, 6], to('asia')),
          ],
        ],
      },
    ],
    [
      'asia',
      {
        kind: 'told',
        parts: [[span('a1', 'e2', 'server', [1_049 + asia, 2], { 'domicile.from': 'eu' })]],
      },
    ],
  ]);
}

const timesOf = (regions: Map<string, Told>) =>
  wholeTrace('t', regions)?.trace.spans.map(({ spanId, region, startedAtMs }) => [
    spanId,
    region,
    startedAtMs,
  ]);
const IN_TIME = [
  ['u1', 'us', 1_000],
  ['u2', 'us', 1_002],
  ['e1', 'eu', 1_045],
  ['e2', 'eu', 1_047],
  ['a1', 'asia', 1_049],
];

test('spans of three edges are one trace in the order of their beginning, each with its region', () => {
  expect(timesOf(told())).toEqual(IN_TIME);
  expect(wholeTrace('t', told())?.parts).toEqual([
    { region: 'us', kind: 'told', movedMs: 0 },
    { region: 'eu', kind: 'told', movedMs: 0 },
    { region: 'asia', kind: 'told', movedMs: 0 },
  ]);
});

test('what clocks put outside of the hop that led there lies in the middle of it, with all below', () => {
  for (const eu of [-60_000, 60_000]) {
    const answer = wholeTrace('t', told({ eu }));
    expect(timesOf(told({ eu }))).toEqual(IN_TIME);
    expect(answer?.parts[1]).toEqual({ region: 'eu', kind: 'told', movedMs: 60_000 });
    // By eu's own clock asia is wrong, by that of us it never was.
    expect(answer?.parts[2]).toEqual({ region: 'asia', kind: 'told', movedMs: 0 });
  }
  expect(timesOf(told({ eu: -5_000, asia: 7_000 }))).toEqual(IN_TIME);
});

test('a clock that may be right is believed', () => {
  // The hop began at 1002 and took 96 ms, of which the home took 10.
  for (const [eu, at] of [
    [-43, 1_002],
    [43, 1_088],
    [-43.1, 1_045],
    [43.1, 1_045],
  ] as const) {
    const asia = eu;
    expect(timesOf(told({ eu, asia }))?.find(([id]) => id === 'e1')?.[2]).toBeCloseTo(at, 5);
  }
});

test('whoever looks from the home has the time of the edge that the client met', () => {
  const regions = told({ us: 30_000 });
  const turned = new Map([...regions].reverse());
  expect(timesOf(turned)?.map(([, , at]) => at)).toEqual(
    IN_TIME.map(([, , at]) => Number(at) + 30_000),
  );
});

test('of regions that told nothing it is said what the others know of them', () => {
  const parts = (change: (regions: Map<string, Told>) => void) => {
    const regions = told();
    change(regions);
    return wholeTrace('t', regions)?.parts.slice(1);
  };
  const silent: Told = { kind: 'silent', why: 'late' };
  expect(parts((regions) => regions.set('eu', silent))).toEqual([
    { region: 'eu', kind: 'silent', isPart: true, why: 'late' },
    { region: 'asia', kind: 'told', movedMs: 0 },
  ]);
  expect(
    parts((regions) => regions.set('eu', silent).set('asia', { kind: 'told', parts: [] })),
  ).toEqual([{ region: 'eu', kind: 'silent', isPart: true, why: 'late' }]);
  expect(parts((regions) => regions.set('eu', silent).set('asia', silent))?.[1]).toMatchObject({
    isPart: false,
  });
  expect(parts((regions) => regions.set('asia', { kind: 'told', parts: [] }))?.[1]).toEqual({
    region: 'asia',
    kind: 'forgotten',
  });
  expect(parts((regions) => regions.set('asia', { kind: 'off' }))?.[1]).toEqual({
    region: 'asia',
    kind: 'off',
  });
  // That the edge of the client is silent is known by who was sent the request.
  expect(parts((regions) => regions.set('us', silent).delete('asia'))).toEqual([
    { region: 'eu', kind: 'told', movedMs: 0 },
  ]);
  expect(wholeTrace('t', told().set('us', silent))?.parts[0]).toMatchObject({ isPart: true });
});

test('where nobody has anything there is no trace, and spans that lead in a circle are shown once', () => {
  expect(wholeTrace('t', new Map([['us', { kind: 'off' }]]))).toBeUndefined();
  const round = new Map<string, Told>([
    ['us', { kind: 'told', parts: [[span('a', 'b', 'server', [0, 1])]] }],
    [
      'eu',
      {
        kind: 'told',
        parts: [[span('b', 'a', 'server', [9, 1])], [span('a', 'b', 'server', [0, 1])]],
      },
    ],
  ]);
  expect(wholeTrace('t', round)?.trace.spans.length).toBe(2);
});

test('a peer is told of requests that have crossed a border, without the subject and without addresses', () => {
  const inside = [
    span('x', undefined, 'server', [0, 9], { 'domicile.subject': 'hash', 'domicile.to': 'us' }),
    span('y', 'x', 'client', [1, 2], { 'server.address': '10.0.0.7', 'server.port': 5432 }),
  ];
  expect(tellable([inside])).toEqual([]);
  const arrived = [
    span('x', 'far', 'server', [0, 9], { 'domicile.subject': 'hash', 'domicile.from': 'us' }),
    span('y', 'x', 'client', [1, 2], { 'server.address': '10.0.0.7', 'domicile.node': 'eu-a' }),
  ];
  const sent = [
    span('x', undefined, 'server', [0, 9], { 'domicile.subject': 'hash' }),
    span('y', 'x', 'client', [1, 2], { 'domicile.to': 'us', 'domicile.errand': 'question' }),
  ];
  expect(
    tellable([inside, arrived, sent]).map((part) => part.map((one) => one.attributes)),
  ).toEqual([
    [{ 'domicile.from': 'us' }, { 'domicile.node': 'eu-a' }],
    [{}, { 'domicile.to': 'us', 'domicile.errand': 'question' }],
  ]);
});
