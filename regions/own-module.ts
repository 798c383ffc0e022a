/**
 * Where is a module of this package that a process of its own runs?
 *
 * The source is TypeScript and the installed package is the JavaScript made of it, because Node does
 * not strip types below `node_modules`. Imports are rewritten when the package is made; paths are not.
 */
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * @param from `import.meta.url` of the caller
 * @param to the module as seen from there, without its extension, such as `./main`
 */
export function ownModule(from: string, to: string): string {
  return fileURLToPath(new URL(`${to}${extname(from)}`, from));
}

/** A module beside an app, in the language that the app is written in, such as its `seed.ts`. */
export function nameBeside(app: string, stem: string): string {
  return `${stem}${extname(app)}`;
}
