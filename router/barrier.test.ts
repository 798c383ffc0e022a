import { expect, test, vi } from 'vitest';
import { Barrier, type Confirmation } from './barrier.ts';

const confirmed = (lsn: bigint): Confirmation => ({
  kind: 'confirmed',
  at: {
    node: 'a',
    incarnation: 'a1',
    at: { systemId: 9n, timeline: 1, lsn },
    confirmed: lsn,
    sentAtMs: 0,
  },
});

/** Commits that end when the test says so. */
function heldBarrier() {
  const commits: PromiseWithResolvers<Confirmation>[] = [];
  const barrier = new Barrier(() => {
    const commit = Promise.withResolvers<Confirmation>();
    commits.push(commit);
    return commit.promise;
  });
  return { barrier, commits };
}

test('who asks while a commit is under way gets the next one, and all of them share it', async () => {
  const { barrier, commits } = heldBarrier();
  const first = barrier.confirm(60_000);
  const others = [barrier.confirm(60_000), barrier.confirm(60_000), barrier.confirm(60_000)];
  expect(commits.length).toBe(1);
  commits[0]?.resolve(confirmed(1n));
  expect(await first).toEqual(confirmed(1n));
  await vi.waitFor(() => expect(commits.length).toBe(2));
  commits[1]?.resolve(confirmed(2n));
  expect(await Promise.all(others)).toEqual([confirmed(2n), confirmed(2n), confirmed(2n)]);
  expect(barrier.commits).toBe(2);
});

test('who asks after it has ended begins another one', async () => {
  const { barrier, commits } = heldBarrier();
  const first = barrier.confirm(60_000);
  commits[0]?.resolve(confirmed(1n));
  await first;
  void barrier.confirm(60_000);
  expect(commits.length).toBe(2);
});

test('a thousand at once cost two commits', async () => {
  const { barrier, commits } = heldBarrier();
  const asked = Array.from({ length: 1_000 }, () => barrier.confirm(60_000));
  commits[0]?.resolve(confirmed(1n));
  await vi.waitFor(() => expect(commits.length).toBe(2));
  commits[1]?.resolve(confirmed(2n));
  await Promise.all(asked);
  expect(barrier.commits).toBe(2);
});

test('nobody waits longer than their own time, and the commit goes on for the others', async () => {
  vi.useFakeTimers();
  try {
    const { barrier, commits } = heldBarrier();
    const patient = barrier.confirm(2_000);
    const hasty = barrier.confirm(50);
    await vi.advanceTimersByTimeAsync(50);
    expect(await hasty).toEqual({ kind: 'not_confirmed' });
    commits[0]?.resolve(confirmed(1n));
    expect(await patient).toEqual(confirmed(1n));
  } finally {
    vi.useRealTimers();
  }
});

test('a failed commit fails those who shared it, and not those who come after', async () => {
  const { barrier, commits } = heldBarrier();
  const first = barrier.confirm(60_000);
  const second = barrier.confirm(60_000);
  commits[0]?.resolve({ kind: 'not_confirmed' });
  expect((await first).kind).toBe('not_confirmed');
  await vi.waitFor(() => expect(commits.length).toBe(2));
  commits[1]?.resolve(confirmed(2n));
  expect((await second).kind).toBe('confirmed');
});
