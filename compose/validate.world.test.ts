/** Does `npm run validate` end well, with a real Prometheus where there is one? */
import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const HERE = dirname(fileURLToPath(import.meta.url));
/** Packages are installed, a world starts, and an audit looks at it, on a machine that may be busy. */
const VALIDATE_MS_MAX = 900_000;
/** Asked to end, it ends the world first. */
const CLEAN_UP_MS_MAX = 180_000;

test(
  'whatever can be tried without a Docker engine holds',
  async () => {
    const child = spawn(process.execPath, [join(HERE, 'validate.ts')], {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: VALIDATE_MS_MAX,
    });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        said += text;
      });
    }
    const status = await new Promise<number | string | null>((ended) => {
      child.on('error', (error) => ended(error.message));
      child.on('close', (code, signal) => ended(code ?? signal));
    });
    // In the log of a run one can see what was not tried.
    process.stdout.write(said);
    expect(status, said).toBe(0);
    expect(said).toMatch(/\nEverything that was tried holds; \d+ things were skipped\.\n$/);
    for (const tried of ['serves, as', 'the health check says', 'traces arrive', 'asked to end']) {
      expect(said).toMatch(new RegExp(`^ok .*${tried}`, 'm'));
    }
    // With a Prometheus, every query of every dashboard; without one, a word of it.
    expect(said).toMatch(/^(ok {7}Prometheus [\d.]+ has data for all|SKIPPED {2}prometheus\.yml)/m);
  },
  VALIDATE_MS_MAX + CLEAN_UP_MS_MAX,
);
