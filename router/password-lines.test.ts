import { expect, test } from 'vitest';
import { passwordFor, passwordLines } from './password-lines.ts';

const FILE = `# host:port:database:user:password

db.example:5432:app:domicile_feed:first
2001\\:db8\\:\\:1:5432:app:domicile_feed:with \\: and \\\\
*:5432:*:domicile_feed:any
db.example:5432:app:domicile_feed:too late
`;

test('the first line that fits is taken, as libpq does', () => {
  const lines = passwordLines(FILE);
  const of = (host: string, port = '5432', user = 'domicile_feed') =>
    passwordFor([host, port, 'app', user], lines);
  expect(of('db.example')).toBe('first');
  expect(of('elsewhere.example')).toBe('any');
  expect(of('db.example', '5433')).toBeUndefined();
  expect(of('db.example', '5432', 'domicile_peer_us')).toBeUndefined();
});

test('colons and backslashes of names and passwords are escaped', () => {
  const lines = passwordLines(FILE);
  expect(passwordFor(['2001:db8::1', '5432', 'app', 'domicile_feed'], lines)).toBe('with : and \\');
});
