/**
 * Lets the wall clock of one edge be wrong, from inside its process.
 *
 * Loaded by `NODE_OPTIONS=--import=file:///…/jumping-clock.ts?in=FOLDER`; the product knows nothing
 * of it. The offset in milliseconds is read from `FOLDER/<edge>`, and `FOLDER/<edge>.says` gets the
 * time that the process believes in. The monotonic clock is left alone: no machine lets it jump.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const LOOK_EVERY_MS = 50;

const [, , command, ...words] = process.argv;
const name = words[words.indexOf('--name') + 1];
const folder = new URL(import.meta.url).searchParams.get('in');

if (command === 'edge' && name !== undefined && folder !== null) {
  const Real = Date;
  let offsetMs = 0;
  class Wrong extends Real {
    constructor(...given: readonly unknown[]) {
      if (given.length === 0) super(Real.now() + offsetMs);
      else super(...(given as [number]));
    }
    static override now(): number {
      return Real.now() + offsetMs;
    }
  }
  globalThis.Date = Wrong as DateConstructor;
  const file = join(folder, name);
  setInterval(() => {
    let wanted = 0;
    try {
      wanted = Number(readFileSync(file, 'utf8')) || 0;
    } catch {
      // Nobody has asked for anything yet.
    }
    if (wanted === offsetMs) return;
    offsetMs = wanted;
    writeFileSync(`${file}.says`, String(Wrong.now()));
  }, LOOK_EVERY_MS).unref();
}
