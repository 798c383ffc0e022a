import { expect, test } from 'vitest';
import { parseBody, readFields } from './body.ts';
import { Refusal } from './refusal.ts';

test('the body ends with its first value, whatever brackets its strings hold', () => {
  expect(parseBody(' {"a":"}\\"]","b":[{}]} {"a":2} }')).toEqual({ a: '}"]', b: [{}] });
  expect(parseBody('[]]')).toEqual([]);
});

test('a body that stops short is refused', () => {
  for (const short of ['', ' \n', '{', '[1', '{"a":"', '{"a":"\\']) {
    expect(parseBody(short), short).toBeInstanceOf(Refusal);
  }
});

test('a field of the wrong type is refused by name, null and absent are not given', () => {
  const fields = { name: 'string', bytes: 'integer', enabled: 'boolean' } as const;
  expect(readFields({ NAME: 'x', bytes: null, other: {} }, fields)).toEqual({ name: 'x' });
  expect(readFields(null, fields)).toEqual({});
  for (const wrong of [{ name: 1 }, { bytes: 1.5 }, { bytes: 2 ** 63 }, { enabled: 0 }, [], 'x']) {
    const refusal = readFields(wrong, fields);
    expect(refusal, JSON.stringify(wrong)).toBeInstanceOf(Refusal);
    expect((refusal as Refusal).error).toMatch(/^bad request body: /);
  }
});

test('a key like one of Object.prototype is an unknown key', () => {
  expect(readFields(JSON.parse('{"__proto__":{"name":"x"}}'), { name: 'string' })).toEqual({});
});
