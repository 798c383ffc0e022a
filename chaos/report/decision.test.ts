import { expect, test } from 'vitest';
import { decided } from './decision.ts';

test.each([
  ['serve;node=eu-b;rung=replica', 'serve replica'],
  ['serve;node=eu-b;rung=replica_after_wait', 'serve replica'],
  ['serve;node=eu-a;rung=primary', 'serve primary'],
  ['serve;node=us-b;rung=mirror', 'serve mirror'],
  ['forward;to=eu, serve;node=eu-a;rung=primary', 'forward'],
  ['forward;to=eu', 'forward'],
  ['forward;to=eu, refuse;because=overloaded', 'refuse'],
  ['redirect;to=eu', 'redirect'],
  ['refuse;because=residency-unavailable', 'refuse'],
  ['serve;node=eu-a;rung=primary;passed-over="eu-b:behind, refuse;x"', 'serve primary'],
  ['serve;passed-over="a\\", refuse";node=eu-a;rung=primary', 'serve primary'],
  ['answer', 'other'],
  ['<script>', 'other'],
  ['', 'no answer'],
  [undefined, 'no answer'],
] as const)('%s counts as %s', (field, expected) => {
  expect(decided(field)).toBe(expected);
});
