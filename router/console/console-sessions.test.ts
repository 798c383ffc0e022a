/** When a session of the console ends. */
import { describe, expect, test } from 'vitest';
import {
  ConsoleSessions,
  IDLE_MS_MAX,
  SESSION_MS_MAX,
  SESSIONS_EACH_MAX,
  SESSIONS_MAX,
} from './console-sessions.ts';
import type { Person } from './credentials.ts';

const ADA: Person = { id: 'ada', name: 'Ada', role: 'viewer', entry: 'e', expiresAtMs: undefined };

function sessions() {
  const time = { ms: 0, wallMs: 5_000_000 };
  let drawn = 0;
  const kept = new ConsoleSessions({
    drawSecret: () => `secret-${++drawn}`,
    now: () => time.ms,
    wallClock: () => time.wallMs,
  });
  return { kept, time };
}

describe('a session', () => {
  test('is found by its secret until it is ended', () => {
    const { kept } = sessions();
    const secret = kept.begin(ADA);
    expect(kept.find(secret)).toMatchObject({ id: 'ada', name: 'Ada', role: 'viewer' });
    expect(kept.find('secret-2')).toBeUndefined();
    kept.end(secret);
    expect(kept.find(secret)).toBeUndefined();
  });

  test('ends with what let its person in, and those of others go on', () => {
    const { kept } = sessions();
    const [mine, others] = [kept.begin(ADA), kept.begin({ ...ADA, id: 'eve', entry: 'f' })];
    expect(kept.endWhere(({ entry }) => entry === 'e').map(({ id }) => id)).toEqual(['ada']);
    expect(kept.find(mine)).toBeUndefined();
    expect(kept.find(others)).toMatchObject({ id: 'eve' });
  });

  test('ends when it was not used for so long', () => {
    const { kept, time } = sessions();
    const secret = kept.begin(ADA);
    time.ms = IDLE_MS_MAX - 1;
    expect(kept.find(secret)).toBeDefined();
    time.ms += IDLE_MS_MAX - 1;
    expect(kept.find(secret)).toBeDefined();
    time.ms += IDLE_MS_MAX;
    expect(kept.find(secret)).toBeUndefined();
  });

  test('ends after a day’s work, however much it is used', () => {
    const { kept, time } = sessions();
    const secret = kept.begin(ADA);
    const step = IDLE_MS_MAX - 1;
    while (time.ms + step < SESSION_MS_MAX) {
      time.ms += step;
      expect(kept.find(secret)).toBeDefined();
    }
    time.ms = SESSION_MS_MAX - 1;
    expect(kept.find(secret)).toBeDefined();
    time.ms = SESSION_MS_MAX;
    expect(kept.find(secret)).toBeUndefined();
  });

  test('is never longer than the token that began it', () => {
    const { kept, time } = sessions();
    const secret = kept.begin({ ...ADA, expiresAtMs: time.wallMs + 10 });
    time.wallMs += 9;
    expect(kept.find(secret)).toBeDefined();
    time.wallMs += 1;
    expect(kept.find(secret)).toBeUndefined();
  });
});

describe('sessions are bounded', () => {
  test('each person’s eldest goes first', () => {
    const { kept } = sessions();
    const bob = kept.begin({ ...ADA, id: 'bob' });
    const [first = '', ...others] = Array.from({ length: SESSIONS_EACH_MAX + 1 }, () =>
      kept.begin(ADA),
    );
    expect(kept.find(first)).toBeUndefined();
    for (const one of [bob, ...others]) expect(kept.find(one)).toBeDefined();
  });

  test('of all persons together', () => {
    const { kept } = sessions();
    for (let n = 0; n < SESSIONS_MAX + 3; n++) kept.begin({ ...ADA, id: `person ${n}` });
    expect(kept.size).toBe(SESSIONS_MAX);
  });
});
