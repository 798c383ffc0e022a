/**
 * Which files is the console's page made of?
 *
 * Read once and kept, each with the address that the page asks for it under. They are what a browser
 * takes as it is: nothing is built, and nothing comes from elsewhere.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';

export type ConsoleFile = {
  type: string;
  body: Uint8Array<ArrayBuffer>;
  etag: string;
  /** Whether somebody who has not signed in gets it: it says nothing of this edge. */
  open: boolean;
};

const FOLDER = join(import.meta.dirname, 'page');
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
};
/** What the sign-in page is made of. */
const OPEN = new Set(['sign-in.html', 'sign-in.js', 'page.css', 'theme.js', 'icon.svg']);
const PAGES: Readonly<Record<string, string>> = {
  'page.html': '/console',
  'sign-in.html': '/console/sign-in',
};

/** By path of the URL; the sign-in page stands in for the page where nobody has signed in. */
export function consoleFiles(): ReadonlyMap<string, ConsoleFile> {
  const files = new Map<string, ConsoleFile>();
  for (const name of readdirSync(FOLDER)) {
    const type = TYPES[extname(name)];
    if (type === undefined) continue;
    const body = new Uint8Array(readFileSync(join(FOLDER, name)));
    const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`;
    files.set(PAGES[name] ?? `/console/page/${name}`, { type, body, etag, open: OPEN.has(name) });
  }
  return files;
}
