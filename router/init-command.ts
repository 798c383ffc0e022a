/**
 * `domicile init`: how does somebody begin an app of their own?
 *
 * With four files that run as they are: the app, its tables, where people are at home, and which
 * regions there are. Nothing that is there already is touched.
 */
import { constants } from 'node:fs';
import { access, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const TEMPLATE = fileURLToPath(new URL('../examples/notes/', import.meta.url));
const FILES = ['app.ts', 'schema.sql', 'residency.yaml', 'regions.yaml'] as const;
/** How the template reaches the package from inside it. */
const INSIDE = "'../../router/domicile.ts'";

export type InitAnswer = { complaints: readonly string[] } | { lines: readonly string[] };

export async function initCommand(folder: string): Promise<InitAnswer> {
  const paths = FILES.map((name) => join(folder, name));
  const there = await Promise.all(paths.map(exists));
  const taken = paths.filter((_, index) => there[index]);
  if (taken.length > 0) {
    return { complaints: taken.map((path) => `${path}  is there already; nothing was written`) };
  }
  await mkdir(folder, { recursive: true });
  for (const [index, name] of FILES.entries()) {
    const text = await readFile(join(TEMPLATE, name), 'utf8');
    await writeFile(paths[index] as string, fromOutside(text), { flag: 'wx' });
  }
  const app = relative('.', paths[0] as string);
  return {
    lines: [
      ...paths.map((path) => `wrote ${relative('.', path)}`),
      '',
      'Start it:',
      `  npx domicile up --app ${app}`,
    ],
  };
}

/** The template as an app writes it that has the package installed. */
export function fromOutside(text: string): string {
  return text.replace(INSIDE, "'domicile'");
}

function exists(path: string): Promise<boolean> {
  return access(path, constants.F_OK).then(
    () => true,
    () => false,
  );
}
