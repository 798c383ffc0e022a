/**
 * What goes into the installed package?
 *
 * JavaScript with its types, because Node does not strip types below `node_modules`, and the files
 * that the code reads, each where the code looks for it.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, rmSync } from 'node:fs';
import { extname, join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '..');
const DIST = join(ROOT, 'dist');
const READ_BY_CODE = ['regions', 'policies', 'examples/storefront', 'router/console/page'];
const KINDS = new Set(['.sql', '.yaml', '.json', '.html', '.css', '.js', '.svg']);

rmSync(DIST, { recursive: true, force: true });
execFileSync('tsc', ['-p', 'tsconfig.build.json'], { cwd: ROOT, stdio: 'inherit' });
for (const folder of READ_BY_CODE) {
  cpSync(join(ROOT, folder), join(DIST, folder), {
    recursive: true,
    filter: (path) => extname(path) === '' || KINDS.has(extname(path)),
  });
}
// What `domicile init` writes is TypeScript.
cpSync(join(ROOT, 'examples/notes'), join(DIST, 'examples/notes'), { recursive: true });
