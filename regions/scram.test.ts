import { expect, test } from 'vitest';
import { isVerifierOf, prove, serverIsGenuine } from './scram.ts';

/** RFC 7677, section 3, but with the empty user that PostgreSQL's clients send. */
const NONCE = 'rOprNGfwEbeRWgbNEkqO';
const CHALLENGE = `r=${NONCE}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`;

test('a challenge that does not continue our nonce is not answered', () => {
  expect(prove('pencil', NONCE, CHALLENGE)).toBeDefined();
  expect(prove('pencil', 'another', CHALLENGE)).toBeUndefined();
  expect(prove('pencil', NONCE, `r=${NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`)).toBeUndefined();
});

test('a server cannot ask for hours of hashing, nor for none', () => {
  const asking = (iterations: string) => CHALLENGE.replace('4096', iterations);
  expect(prove('pencil', NONCE, asking('1000000'))).toBeDefined();
  expect(prove('pencil', NONCE, asking('1000001'))).toBeUndefined();
  expect(prove('pencil', NONCE, asking('0'))).toBeUndefined();
  expect(prove('pencil', NONCE, asking('many'))).toBeUndefined();
});

test('a server that does not know the verifier is not believed', () => {
  const proof = prove('pencil', NONCE, CHALLENGE);
  if (proof === undefined) throw new Error('no proof');
  const genuine = `v=${proof.serverSignature.toString('base64')}`;
  expect(serverIsGenuine(proof, genuine)).toBe(true);
  expect(serverIsGenuine(proof, `v=${Buffer.alloc(32).toString('base64')}`)).toBe(false);
  expect(serverIsGenuine(proof, 'e=other-error')).toBe(false);
  expect(serverIsGenuine(proof, '')).toBe(false);
});

test('what PostgreSQL keeps of a password is told from what it keeps of another one', () => {
  // The example of RFC 7677.
  const kept =
    'SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=';
  expect(isVerifierOf('pencil', kept)).toBe(true);
  expect(isVerifierOf('pencils', kept)).toBe(false);
  expect(isVerifierOf('pencil', null)).toBe(false);
  expect(isVerifierOf('pencil', 'md5d8578edf8458ce06fbc5bb76a58c5ca4')).toBe(false);
  // A number of rounds that nobody waits for.
  expect(isVerifierOf('pencil', kept.replace('4096', '4096000000'))).toBe(false);
});
