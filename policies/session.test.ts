import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  alsoSaw,
  bind,
  bounded,
  floorOf,
  goOnFrom,
  goOnIn,
  merge,
  NO_SESSION,
  raise,
  regionsOf,
  SEVERAL,
  type Session,
  seenAtHome,
  seeThrough,
} from './session.ts';
import { anyFloor, anySeen, anySession, anySubject } from './sessions-for-tests.ts';
import { mergeFloors, type Seen, sameHistory } from './standing.ts';

/** Sessions of one subject, or of nobody yet. */
const anyOfOne = (subject: string) =>
  fc.tuple(anySession, fc.boolean()).map(([session, known]) => ({
    ...session,
    // A binding is of a subject: without one there is no home.
    ...(known ? { subject } : { subject: undefined, home: undefined, epoch: 0 }),
  }));
const three = anySubject.chain((subject) =>
  fc.tuple(anyOfOne(subject), anyOfOne(subject), anyOfOne(subject)),
);

function together(a: Session, b: Session): Session {
  const merged = merge(a, b);
  if (merged === undefined) throw new Error('of two subjects');
  return merged;
}

describe('merged sessions', () => {
  test('are the same in either order, however they are put together, and by repetition', () => {
    fc.assert(
      fc.property(three, ([a, b, c]) => {
        expect(together(a, b)).toEqual(together(b, a));
        expect(together(together(a, b), c)).toEqual(together(a, together(b, c)));
        expect(together(a, { ...a })).toEqual(a);
        expect(together(a, NO_SESSION)).toEqual(a);
        expect(together(together(a, b), b)).toEqual(together(a, b));
      }),
    );
  });

  test('have seen what both have, in every region', () => {
    fc.assert(
      fc.property(three, ([a, b]) => {
        const both = together(a, b);
        for (const region of new Set([...a.floors.keys(), ...b.floors.keys()])) {
          expect(floorOf(both, region)).toEqual(
            mergeFloors(floorOf(a, region), floorOf(b, region)),
          );
        }
        for (const one of [a, b]) {
          for (const [home, region] of one.seenThrough) {
            expect([region, SEVERAL]).toContain(both.seenThrough.get(home));
          }
        }
        expect([...both.seenThrough.keys()].sort()).toEqual(
          [...new Set([...a.seenThrough.keys(), ...b.seenThrough.keys()])].sort(),
        );
        expect(regionsOf(both).size).toBeLessThanOrEqual(
          new Set([...regionsOf(a), ...regionsOf(b)]).size,
        );
      }),
    );
  });

  test('are of the later binding', () => {
    const early = bind(NO_SESSION, 'ada', 'eu', 1);
    const late = bind(NO_SESSION, 'ada', 'us', 2);
    for (const both of [together(early, late), together(late, early)]) {
      expect([both.home, both.epoch]).toEqual(['us', 2]);
    }
  });

  test('of two subjects do not exist', () => {
    fc.assert(
      fc.property(anySession, anySession, anySubject, anySubject, (a, b, one, other) => {
        fc.pre(one !== other);
        expect(merge({ ...a, subject: one }, { ...b, subject: other })).toBeUndefined();
      }),
    );
  });

  test('read copies in one region as long as both read them there', () => {
    const eu = seeThrough(NO_SESSION, 'us', 'eu');
    const asia = seeThrough(NO_SESSION, 'us', 'asia');
    expect(together(eu, eu).seenThrough.get('us')).toBe('eu');
    expect(together(eu, asia).seenThrough.get('us')).toBe(SEVERAL);
    expect(together(together(eu, asia), eu).seenThrough.get('us')).toBe(SEVERAL);
  });
});

const anyShown = fc.tuple(anySession, fc.constantFrom('eu', 'us', 'asia'), anySeen);
const ofHistory = (session: Session, region: string, seen: Seen) =>
  floorOf(session, region).find((one) => sameHistory(one, seen));

describe('a session that was shown something', () => {
  test('never falls below it, nor below what it had seen of that history', () => {
    fc.assert(
      fc.property(anyShown, ([session, region, seen]) => {
        const before = ofHistory(session, region, seen)?.lsn ?? 0n;
        for (const after of [raise(session, region, seen), alsoSaw(session, region, seen)]) {
          const lsn = ofHistory(after, region, seen)?.lsn ?? -1n;
          expect(lsn).toBe(seen.lsn > before ? seen.lsn : before);
        }
      }),
    );
  });

  test('keeps what it has seen of other regions, and whose it is', () => {
    fc.assert(
      fc.property(anyShown, ([session, region, seen]) => {
        for (const after of [raise(session, region, seen), alsoSaw(session, region, seen)]) {
          const rest = ({ floors, ...others }: Session) => [
            others,
            [...floors].filter(([name]) => name !== region),
          ];
          expect(rest(after)).toEqual(rest(session));
        }
      }),
    );
  });

  test('forgets nothing where nobody compared its floor', () => {
    fc.assert(
      fc.property(anyShown, ([session, region, seen]) => {
        const after = alsoSaw(session, region, seen);
        expect(floorOf(after, region)).toEqual(mergeFloors(floorOf(session, region), [seen]));
        expect(alsoSaw(after, region, seen)).toBe(after);
      }),
    );
  });

  test('is the same one when it knew, so that no token is made', () => {
    fc.assert(
      fc.property(anyShown, ([session, region, seen]) => {
        const after = raise(session, region, seen);
        expect(raise(after, region, seen)).toBe(after);
        if (after === session) expect(ofHistory(session, region, seen)).toBeDefined();
      }),
    );
  });

  test('needs no proof any more for what a primary has shown, and keeps it for the rest', () => {
    const seen: Seen = { systemId: 1n, timeline: 1, lsn: 5n, onReplica: true };
    const session = raise(NO_SESSION, 'eu', seen);
    const primary = { ...seen, onReplica: false };
    expect(floorOf(raise(session, 'eu', primary), 'eu')).toEqual([primary]);
    expect(floorOf(raise(session, 'eu', { ...primary, lsn: 4n }), 'eu')).toEqual([seen]);
    expect(floorOf(alsoSaw(session, 'eu', primary), 'eu')).toEqual([seen]);
    expect(floorOf(alsoSaw(session, 'eu', { ...primary, lsn: 6n }), 'eu')).toEqual([
      { ...seen, lsn: 6n },
    ]);
  });

  test('keeps what it saw beside the read that settled the rest', () => {
    const one: Seen = { systemId: 1n, timeline: 1, lsn: 5n, onReplica: true };
    const compared = [{ ...one, lsn: 3n }];
    // Begun with floor 3, both of them: a replica shows 5 while the primary is being read.
    const beside = raise(raise(NO_SESSION, 'eu', compared[0] as Seen), 'eu', one, compared);
    const primary = { ...one, lsn: 6n, onReplica: false };
    expect(floorOf(raise(beside, 'eu', primary, compared), 'eu')).toEqual([{ ...one, lsn: 6n }]);
    // The other one has met the next primary already.
    const next = { ...one, timeline: 2, lsn: 7n, onReplica: false };
    const ahead = raise(beside, 'eu', next, [one]);
    expect(floorOf(ahead, 'eu')).toEqual([next]);
    expect(floorOf(raise(ahead, 'eu', primary, compared), 'eu')).toEqual([primary, next]);
  });

  test('gives up after a loss what is lost, and nothing else', () => {
    const seen = (timeline: number, lsn: bigint): Seen => ({
      systemId: 1n,
      timeline,
      lsn,
      onReplica: true,
    });
    const history = { systemId: 1n, timeline: 2, ancestors: [{ timeline: 1, end: 6n }] };
    const of = (...floor: Seen[]) => ({ ...NO_SESSION, floors: new Map([['eu', floor]]) });
    const at = { systemId: 1n, timeline: 2, lsn: 4n };
    const begin = { ...at, lsn: 6n, onReplica: false };
    // The replica that tells of the loss has not replayed all of what is left.
    expect(floorOf(goOnIn(of(seen(1, 9n)), 'eu', at, history), 'eu')).toEqual([begin]);
    expect(floorOf(goOnIn(of(seen(1, 9n), seen(2, 8n)), 'eu', at, history), 'eu')).toEqual([
      seen(2, 8n),
    ]);
    expect(floorOf(goOnIn(of(seen(1, 9n), seen(3, 8n)), 'eu', at, history), 'eu')).toEqual([
      begin,
      seen(3, 8n),
    ]);
    const other = { ...at, systemId: 2n };
    expect(floorOf(goOnIn(of(seen(1, 9n)), 'eu', other, undefined), 'eu')).toEqual([
      { ...other, onReplica: false },
    ]);
  });

  test('goes on from what there is after a loss', () => {
    const seen: Seen = { systemId: 1n, timeline: 2, lsn: 5n, onReplica: false };
    fc.assert(
      fc.property(anySession, (session) => {
        expect(floorOf(goOnFrom(session, 'eu', seen), 'eu')).toEqual([seen]);
      }),
    );
  });
});

test('what was read of copies counts until the home has shown its own', () => {
  const read = seeThrough(NO_SESSION, 'us', 'eu');
  expect(seeThrough(read, 'us', 'eu')).toBe(read);
  expect(seeThrough(read, 'us', 'asia').seenThrough.get('us')).toBe(SEVERAL);
  expect(seenAtHome(read, 'us').seenThrough.size).toBe(0);
  expect(seenAtHome(read, 'eu')).toBe(read);
});

test('a bounded session is the session itself as long as its floors fit', () => {
  fc.assert(
    fc.property(anySession, (session) => {
      expect(bounded(session)).toBe(session);
    }),
  );
  fc.assert(
    fc.property(anySession, anyFloor, (session, floor) => {
      const long = { ...session, floors: new Map(session.floors).set('eu', floor) };
      for (const [, kept] of bounded(long).floors) expect(kept.length).toBeLessThanOrEqual(4);
    }),
  );
});
