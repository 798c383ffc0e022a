import { describe, expect, test } from 'vitest';
import { type Answer, differences } from './step.ts';

const answer: Answer = {
  status: 409,
  headers: new Headers({ 'domicile-home': 'eu' }),
  body: { type: '/docs/problems.md#subject-exists', home: 'eu', list: [{ a: 1, b: 2 }] },
  tookMs: 2_000,
};

describe('an answer is as expected', () => {
  test('when nothing was expected, or each thing that was', () => {
    expect(differences({}, answer)).toEqual([]);
    expect(
      differences(
        {
          status: 409,
          headers: { 'domicile-home': /^e/ },
          problem: 'subject-exists',
          body: { home: 'eu', list: [{ a: 1 }] },
          withinMs: 2_000,
        },
        answer,
      ),
    ).toEqual([]);
  });
});

describe('an answer differs', () => {
  const cases = [
    [{ status: 201 }, 'status is 409, not 201'],
    [{ headers: { 'domicile-home': 'e' } }, 'domicile-home is eu, not e'],
    [{ headers: { 'domicile-served-by': /./ } }, 'domicile-served-by is missing, not /./'],
    [{ problem: 'exists' }, 'the problem is /docs/problems.md#subject-exists, not exists'],
    [{ body: { home: 'us' } }, 'body.home is "eu", not "us"'],
    [{ body: { list: [] } }, 'body.list is 1 long, not 0 long'],
    [{ body: { list: [{ a: 2 }] } }, 'body.list[0].a is 1, not 2'],
    [{ body: { other: { a: 1 } } }, 'body.other is no object'],
    [{ withinMs: 1_999 }, 'it took 2000 ms, more than 1999'],
  ] as const;
  test.each(cases)('from %j', (expected, words) => {
    expect(differences(expected, answer)).toEqual([words]);
  });
});
