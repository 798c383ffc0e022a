import { expect, test } from 'vitest';
import { compareStates, stateOf, type Thing, withoutPasswords } from './cluster-state.ts';

const subscription = (connection: string): Thing => ({
  kind: 'subscription',
  name: 'domicile_home_us_x',
  connection,
  publications: ['domicile_out_us_x'],
  slot: 'domicile_home_us_x',
  options: 'enabled',
});

function words(found: string, wanted: string): string[] {
  const of = (connection: string) => new Map([['us-x', stateOf([subscription(connection)])]]);
  return compareStates(of(wanted), of(found)).map((one) => JSON.stringify(one));
}

test('a password of a connection is compared and never told', () => {
  expect(words('host=a password=secret', 'host=a password=secret')).toEqual([]);
  const [other = ''] = words('host=a password=secret', 'host=a password=guarded');
  expect(other).toContain('subscription domicile_home_us_x has another password than it should');
  expect(other).not.toMatch(/secret|guarded/);
  const [both = ''] = words('host=a password=secret', "host=b password='se cr\\'et' port=1");
  expect(both).toContain('host=b password=… port=1');
  expect(both).not.toMatch(/secret|se cr/);
});

test('a password file is no password', () => {
  expect(withoutPasswords('host=a passfile=/run/passwords user=b')).toBe(
    'host=a passfile=/run/passwords user=b',
  );
});
