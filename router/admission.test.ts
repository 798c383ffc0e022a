import { expect, test } from 'vitest';
import { Admission, type Comer } from './admission.ts';

const OPTIONS = { requestsMax: 40, heldBytesMax: 1_000, queueMsMax: 100 };

function enterUntilFull(admission: Admission, comer: Comer, bytes = 0): number {
  for (let entered = 0; ; entered++) {
    if (admission.enter(comer, bytes, 0).kind === 'refused') return entered;
  }
}

test('a crowd of clients leaves hops, questions and strangers their places, and so does each other', () => {
  const kinds: Comer[] = ['client', 'hop', 'question', 'stranger'];
  for (const crowd of kinds) {
    const admission = new Admission(OPTIONS);
    enterUntilFull(admission, crowd, 100);
    for (const other of kinds.filter((kind) => kind !== crowd)) {
      expect(admission.enter(other, 100, 0).kind, `${other} beside ${crowd}`).toBe('admitted');
    }
  }
});

test('a process that is always late lets in fewer clients, and as many hops as before', () => {
  const admission = new Admission(OPTIONS);
  for (let look = 0; look < 4; look++) admission.look(101);
  expect(enterUntilFull(admission, 'client')).toBe(32);
  expect(enterUntilFull(admission, 'hop')).toBe(40);
  expect(admission.stats().client).toMatchObject({ limit: 32, underWay: 32, refused: 1 });
});

test('an edge that has signed a hop is no stranger from then on', () => {
  const admission = new Admission(OPTIONS);
  expect(admission.isProven('a-process')).toBe(false);
  admission.prove('a-process');
  expect(admission.isProven('a-process')).toBe(true);
  expect(admission.isProven(undefined)).toBe(false);
});

test('a turn of the event loop that takes too long lets in no more clients, and hops for longer', async () => {
  const admission = new Admission(OPTIONS);
  const enter = (comer: Comer, nowMs: number) => admission.enter(comer, 0, nowMs).kind;
  expect(enter('client', 0)).toBe('admitted');
  expect([enter('client', 200), enter('client', 201)]).toEqual(['admitted', 'refused']);
  expect([enter('hop', 400), enter('hop', 401)]).toEqual(['admitted', 'refused']);
  await new Promise((resolve) => setImmediate(resolve));
  expect(enter('client', 802)).toBe('admitted');
  await new Promise((resolve) => setImmediate(resolve));
  // Behind all the time, so that a turn has less to give.
  for (let look = 0; look < 4; look++) admission.look(101);
  expect(enter('client', 1_000)).toBe('admitted');
  expect([enter('client', 1_100), enter('client', 1_101)]).toEqual(['admitted', 'refused']);
  expect([enter('hop', 1_200), enter('hop', 1_201)]).toEqual(['admitted', 'refused']);
});
