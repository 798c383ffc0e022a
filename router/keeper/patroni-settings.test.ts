import { expect, test } from 'vitest';
import { settingComplaints } from './patroni-settings.ts';

const SOUND = {
  ttl: 20,
  synchronous_mode: true,
  synchronous_mode_strict: true,
  ignore_slots: [{ name: 'mine', type: 'logical' }, { type: 'logical' }],
  postgresql: { use_slots: true, parameters: { hot_standby_feedback: 'on' } },
};
const withParameters = (parameters: object) => ({
  ...SOUND,
  postgresql: { parameters: { hot_standby_feedback: true, ...parameters } },
});

test('sound settings are passed over', () => {
  expect(settingComplaints(SOUND)).toEqual([]);
  expect(settingComplaints(withParameters({ synchronous_commit: 'remote_apply' }))).toEqual([]);
});

test.each<[string, Record<string, unknown>]>([
  ['synchronous_mode is not on', { ...SOUND, synchronous_mode: false }],
  // Version 4, where any of several standbys confirms and /cluster names none of them as the one.
  ['synchronous_mode is not on', { ...SOUND, synchronous_mode: 'quorum' }],
  ['synchronous_mode_strict is not on', { ...SOUND, synchronous_mode_strict: undefined }],
  ['synchronous_commit is local', withParameters({ synchronous_commit: 'local' })],
  ['synchronous_commit is remote_write', withParameters({ synchronous_commit: 'remote_write' })],
  ['use_slots is off', { ...SOUND, postgresql: { ...SOUND.postgresql, use_slots: false } }],
  ['ignore_slots does not spare', { ...SOUND, ignore_slots: [{ name: 'feed' }] }],
  ['ignore_slots does not spare', { ...SOUND, ignore_slots: [{ type: 'physical' }] }],
  ['ignore_slots does not spare', { ...SOUND, ignore_slots: 'logical' }],
  ['hot_standby_feedback is not on', withParameters({ hot_standby_feedback: 'off' })],
])('%s, and that is said', (start, settings) => {
  const complaints = settingComplaints(settings);
  expect(complaints).toHaveLength(1);
  expect(complaints[0]).toMatch(new RegExp(`^${start}`));
});

test('what is no settings at all has every complaint', () => {
  expect(settingComplaints({ postgresql: 'none' })).toHaveLength(3);
});
