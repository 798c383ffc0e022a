/** What an operators file may say, and what is said of one that it may not. */
import { describe, expect, test } from 'vitest';
import { formatComplaint } from '../../regions/yaml-complaint.ts';
import { readOperators } from './operators-file.ts';

const HASH = 'a'.repeat(64);
const ISSUER = `
  - issuer: https://login.example.org
    audience: console
    jwks: https://login.example.org/keys
    algorithms: [ES256]
    roles: { claim: groups, operator: [sre] }
`;
const complaintsOf = (text: string): string[] => {
  const read = readOperators(text, 'operators.yaml');
  return 'complaints' in read ? read.complaints.map(formatComplaint) : [];
};

test('operators and issuers are read, with what is assumed where nothing is said', () => {
  const read = readOperators(
    `version: 1\noperators:\n  - { name: ada, role: viewer, sha256: ${HASH} }\nissuers:${ISSUER}`,
    'operators.yaml',
  );
  expect('operators' in read && read.operators).toEqual({
    operators: [{ name: 'ada', role: 'viewer', sha256: Buffer.from(HASH, 'hex') }],
    issuers: [
      {
        issuer: 'https://login.example.org',
        audience: 'console',
        jwks: 'https://login.example.org/keys',
        algorithms: ['ES256'],
        roles: { claim: 'groups', viewer: [], operator: ['sre'] },
        nameClaim: 'sub',
        clockToleranceSeconds: 5,
      },
    ],
  });
});

const SIGN_IN = (more = '') =>
  `${ISSUER}    signIn: { clientId: c, redirects: [https://edge.example.org/console/sign-in/callback]${more} }\n`;

test('a way to sign in is read with what is assumed, and without it there is none', () => {
  const read = readOperators(
    `version: 1\nissuers:${SIGN_IN(', clientSecretFile: x')}`,
    'operators.yaml',
  );
  expect('operators' in read && read.operators.issuers[0]?.signIn).toEqual({
    clientId: 'c',
    secret: { kind: 'file', path: 'x' },
    redirects: ['https://edge.example.org/console/sign-in/callback'],
    scope: 'openid',
    title: 'login.example.org',
    minutes: 60,
  });
});

test('of two issuers each has a place of its own to send back to', () => {
  const second = SIGN_IN().replaceAll('login.example', 'second.example');
  expect(complaintsOf(`version: 1\nissuers:${SIGN_IN()}${second}`).join()).toContain(
    'is that of entry 1 already',
  );
  const other = second.replace('/callback', '/callback/second');
  expect(complaintsOf(`version: 1\nissuers:${SIGN_IN()}${other}`)).toEqual([]);
});

describe('a complaint names the place', () => {
  test.each([
    [', clientSecret: topsecret', 'clientSecret'],
    [', clientSecretVariable: DOMICILE_SECRET', 'variable of your own'],
    [', clientSecretVariable: A, clientSecretFile: b', 'two places'],
    [', scope: email', 'openid'],
    [', minutes: 4', 'minutes'],
    [', minutes: 721', 'minutes'],
  ])('of a way to sign in with %j', (more, said) => {
    expect(complaintsOf(`version: 1\nissuers:${SIGN_IN(more)}`).join('\n')).toContain(said);
  });

  test.each([
    'http://edge.example.org/console/sign-in/callback',
    'https://edge.example.org/console/sign-in/callback?to=x',
    'https://edge.example.org/console/sign-in/callback/a/b',
    'https://me@edge.example.org/console/sign-in/callback',
    'https://edge.example.org/elsewhere',
    'javascript:alert(1)',
  ])('of a place to come back to that is %j', (redirect) => {
    const text = SIGN_IN().replace(
      'https://edge.example.org/console/sign-in/callback',
      `"${redirect}"`,
    );
    expect(complaintsOf(`version: 1\nissuers:${text}`).join('\n')).toContain('redirects[0]');
  });

  test.each([
    ['version: 1\n', 'lets nobody in'],
    [`version: 1\noperators:\n  - { name: a, role: admin, sha256: ${HASH} }\n`, 'role'],
    [
      'version: 1\noperators:\n  - { name: a, role: viewer, sha256: secret }\n',
      'operators[0].sha256',
    ],
    [
      `version: 1\noperators:\n  - { name: a, role: viewer, sha256: ${HASH} }\n  - { name: b, role: viewer, sha256: ${HASH} }\n`,
      'operators[1].sha256',
    ],
    [`version: 1\nissuers:${ISSUER.replace('[ES256]', '[HS256]')}`, 'algorithms'],
    [`version: 1\nissuers:${ISSUER.replace('[ES256]', '[none]')}`, 'algorithms'],
    [
      `version: 1\nissuers:${ISSUER.replace('https://login.example.org/keys', 'http://login.example.org/keys')}`,
      'issuers[0].jwks',
    ],
    [`version: 1\nissuers:${ISSUER.replace(', operator: [sre]', '')}`, 'issuers[0].roles'],
    [
      `version: 1\nissuers:${ISSUER.replace('operator: [sre]', 'operator: [sre], viewer: [sre]')}`,
      'both',
    ],
    [`version: 1\nissuers:${ISSUER.replace('audience: console', 'audiense: console')}`, 'audiense'],
  ])('of %j', (text, said) => {
    expect(complaintsOf(text).join('\n')).toContain(said);
  });
});
