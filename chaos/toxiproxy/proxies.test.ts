import { afterEach, expect, test } from 'vitest';
import { Proxies } from './proxies.ts';
import { Refusal } from './refusal.ts';

const proxies = new Proxies({ nowMs: () => 0, random: () => 0 });
const wanted = { name: 'one', listen: 'localhost:0', upstream: '127.0.0.1:1', enabled: true };

afterEach(() => proxies.close());

test('of two that ask for one name at once, the second is refused and binds nothing', async () => {
  const [first, second] = await Promise.all([proxies.create(wanted), proxies.create(wanted)]);
  expect(first).not.toBeInstanceOf(Refusal);
  expect(second).toEqual(new Refusal(409, 'proxy already exists'));
});

test('a refused change does not hold up the next one', async () => {
  const refused = proxies.create({ ...wanted, listen: 'nowhere' });
  const created = proxies.create(wanted);
  expect(await refused).toBeInstanceOf(Refusal);
  expect(await created).not.toBeInstanceOf(Refusal);
  expect(proxies.list()).toEqual([await created]);
});
