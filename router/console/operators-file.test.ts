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

describe('a complaint names the place', () => {
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
