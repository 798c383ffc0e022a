import { describe, expect, test } from 'vitest';
import { Agenda } from './agenda.ts';
import { Cluster, type CommitEnd } from './cluster.ts';
import { Random } from './random.ts';
import { contains, noWrites } from './writes.ts';

function region({ synchronous = true, replicas = 1 } = {}) {
  const agenda = new Agenda();
  const cluster = new Cluster({
    systemId: 9n,
    synchronous,
    replicas,
    slowConfirmations: 0.1,
    subjects: 1,
    noWrites,
    random: new Random(1),
    agenda,
    trace: () => {},
  });
  const ends = new Map<number, CommitEnd>();
  return {
    agenda,
    cluster,
    ends,
    commit(number: number, node = cluster.primary) {
      cluster.commit(node, { subject: 0, number }, (end) => ends.set(number, end));
    },
    shows: (node: string, number: number) => contains(cluster.server(node).read(0), number),
    until(isSo: () => boolean) {
      while (!isSo()) if (!agenda.step()) throw new Error('it never happens');
    },
    rest() {
      while (agenda.step());
    },
  };
}

test('a replica shows a commit before its primary does, and both do in the end', () => {
  const { cluster, commit, shows, until, rest, ends } = region();
  cluster.server('b').replayMs = 0;
  commit(1);
  until(() => shows('b', 1));
  expect([shows('a', 1), ends.get(1)]).toEqual([false, undefined]);
  rest();
  expect([shows('a', 1), ends.get(1)]).toEqual([true, 'clean']);
});

test('a primary that is cut off answers and acknowledges nothing, until somebody forces it', () => {
  const { cluster, commit, shows, rest, ends } = region();
  cluster.cut('a', 'b');
  commit(1);
  rest();
  expect([shows('a', 1), ends.get(1)]).toEqual([false, undefined]);
  cluster.cancelWaiting(cluster.primary);
  expect([shows('a', 1), ends.get(1)]).toEqual([true, 'with_a_warning']);
});

test('a commit that waited is visible after a restart, and is gone with the next primary', () => {
  const { cluster, commit, shows, rest, ends } = region();
  cluster.cut('a', 'b');
  commit(1);
  rest();
  const a = cluster.server('a');
  cluster.crash(a);
  cluster.restart(a);
  expect([shows('a', 1), ends.get(1)]).toEqual([true, 'connection_lost']);
  cluster.promote(cluster.server('b'));
  cluster.heal('a', 'b');
  cluster.follow(a);
  rest();
  expect([shows('a', 1), shows('b', 1)]).toEqual([false, false]);
});

test('what was not flushed is lost in a crash', () => {
  const { cluster, commit, shows } = region({ synchronous: false });
  commit(1);
  cluster.crash(cluster.primary);
  cluster.restart(cluster.primary);
  expect([shows('a', 1), cluster.primary.inserted]).toEqual([false, 0n]);
});

describe('a promotion', () => {
  test('begins a timeline where the new primary stood, and the other one follows', () => {
    const { cluster, commit, shows, rest, ends } = region({ replicas: 2 });
    commit(1);
    rest();
    for (const name of ['b', 'c']) cluster.cut('a', name);
    const end = cluster.server('b').flushed;
    cluster.promote(cluster.server('b'));
    commit(2);
    rest();
    expect(cluster.history(cluster.primary)).toEqual({
      systemId: 9n,
      timeline: 2,
      ancestors: [{ timeline: 1, end }],
    });
    expect([ends.get(2), shows('c', 1), shows('c', 2), shows('a', 2)]).toEqual([
      'clean',
      true,
      true,
      false,
    ]);
  });

  test('of a replica that lags loses what only the old primary had, and fills the others anew', () => {
    const { cluster, commit, shows, rest } = region({ synchronous: false, replicas: 2 });
    cluster.cut('a', 'b');
    commit(1);
    rest();
    expect([shows('b', 1), shows('c', 1)]).toEqual([false, true]);
    const { incarnation } = cluster.server('c');
    cluster.promote(cluster.server('b'));
    rest();
    expect(shows('c', 1)).toBe(false);
    expect(cluster.server('c').incarnation).not.toBe(incarnation);
  });
});
