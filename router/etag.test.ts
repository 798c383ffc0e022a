import { Hono } from 'hono';
import { describe, expect, test } from 'vitest';
import { etag, ifMatch, type Version } from './etag.ts';
import { Refusal } from './problem.ts';

type Asked = Record<string, string>;

async function get(version: Version, headers: Asked, method = 'GET') {
  const app = new Hono().all('/', (c) => etag(c, version) ?? c.text('it'));
  const answer = await app.request('/', { method, headers });
  return [answer.status, answer.headers.get('etag'), await answer.text()];
}

/** What comes of a change when this version is stored. */
async function change(version: Version | undefined, headers: Asked, required?: 'required') {
  const app = new Hono().put('/', (c) => {
    ifMatch(c, version, required);
    return c.text('done');
  });
  app.onError((error) => {
    if (!(error instanceof Refusal)) throw error;
    return error.getResponse();
  });
  const answer = await app.request('/', { method: 'PUT', headers });
  if (answer.status === 200) return 'done';
  const { type, etag: tag } = (await answer.json()) as { type: string; etag?: string };
  return [answer.status, type.split('#')[1], ...(tag === undefined ? [] : [tag])];
}

describe('a read', () => {
  test.each<[string | undefined, number]>([
    [undefined, 200],
    ['"7"', 304],
    ['W/"7"', 304],
    ['"6", "7"', 304],
    ['"6",W/"7" , "8"', 304],
    [', "7",', 304],
    ['*', 304],
    ['"8"', 200],
    ['"77"', 200],
    ['7', 200],
    ['"7', 200],
    ['"7" "8"', 200],
    ['w/"7"', 200],
  ])('with If-None-Match %s of version 7 is a %i', async (given, status) => {
    const headers: Asked = given === undefined ? {} : { 'if-none-match': given };
    expect(await get(7, headers)).toEqual([status, '"7"', status === 304 ? '' : 'it']);
    expect((await get(7, headers, 'HEAD'))[0]).toBe(status);
  });

  test('is the only thing that If-None-Match makes shorter', async () => {
    expect(await get(7, { 'if-none-match': '"7"' }, 'POST')).toEqual([200, '"7"', 'it']);
  });

  test('tells versions of any spelling that a tag may have', async () => {
    expect((await get(12n, {}))[1]).toBe('"12"');
    expect((await get('a,b;c', { 'if-none-match': '"a,b;c"' }))[0]).toBe(304);
    for (const version of ['a"b', 'a b', 'ä']) expect((await get(version, {}))[0]).toBe(500);
  });
});

describe('a change', () => {
  test.each<[Version | undefined, Asked, unknown]>([
    [7, {}, 'done'],
    [7, { 'if-match': '"7"' }, 'done'],
    [7, { 'if-match': '"6", "7"' }, 'done'],
    [7, { 'if-match': '*' }, 'done'],
    [7, { 'if-match': '"8"' }, [412, 'precondition-failed', '"7"']],
    [7, { 'if-match': 'W/"7"' }, [412, 'precondition-failed', '"7"']],
    [undefined, { 'if-match': '*' }, [412, 'precondition-failed']],
    [undefined, { 'if-match': '"7"' }, [412, 'precondition-failed']],
    [undefined, { 'if-none-match': '*' }, 'done'],
    [7, { 'if-none-match': '*' }, [412, 'precondition-failed', '"7"']],
    [7, { 'if-none-match': 'W/"7"' }, [412, 'precondition-failed', '"7"']],
    [7, { 'if-none-match': '"8"' }, 'done'],
    // Both must hold.
    [7, { 'if-match': '"7"', 'if-none-match': '"7"' }, [412, 'precondition-failed', '"7"']],
    [7, { 'if-match': '7' }, [422, 'invalid-request']],
    [7, { 'if-match': '' }, [422, 'invalid-request']],
    [7, { 'if-match': '"7" "8"' }, [422, 'invalid-request']],
    [7, { 'if-match': '"7", *' }, [422, 'invalid-request']],
    [7, { 'if-none-match': 'x' }, [422, 'invalid-request']],
  ])('of version %s under %j', async (version, headers, expected) => {
    expect(await change(version, headers)).toEqual(expected);
  });

  test('that must name its version is refused without If-Match', async () => {
    const refused = [428, 'precondition-required', '"7"'];
    expect(await change(7, {}, 'required')).toEqual(refused);
    expect(await change(7, { 'if-none-match': '"8"' }, 'required')).toEqual(refused);
    expect(await change(undefined, {}, 'required')).toEqual([428, 'precondition-required']);
    expect(await change(7, { 'if-match': '"7"' }, 'required')).toBe('done');
  });
});
