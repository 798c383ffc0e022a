/**
 * `domicile new-secrets`, `edge-settings` and `password-files`: where do an installation's secrets
 * come from, and what is each region handed?
 *
 * Secrets are drawn once, here, and never replaced. Edges get what their own region needs, in a file
 * of their own that `node --env-file` and systemd's `EnvironmentFile` read; servers get what their
 * subscriptions need, in a password file of libpq.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { CannotStart } from '../../regions/local/cannot-start.ts';
import { type PasswordEntry, passwordsWanted } from '../feed-connections.ts';
import type { Answer } from '../policy-command.ts';
import { shown } from '../read-files.ts';
import { openInstallation, readInstallationFiles } from './open-installation.ts';
import { drawSecrets, writePrivately } from './secrets-file.ts';

/** @throws CannotStart when the files are not sound. */
export async function newSecretsCommand(
  path: string,
  random: (bytes: number) => Buffer,
): Promise<Answer> {
  const read = await readInstallationFiles(resolve(path));
  if ('complaints' in read) throw new CannotStart(read.complaints.join('\n'));
  const { secretsFile, catalogue } = read;
  const draw = await drawSecrets(secretsFile, catalogue, random);
  if ('complaints' in draw) throw new CannotStart(draw.complaints.join('\n'));
  const { drawn, kept } = draw;
  const where = shown(secretsFile);
  return {
    lines:
      drawn.length === 0
        ? [`${where} has every secret already; nothing was changed.`]
        : [
            ...drawn.map((name) => `drawn: ${name}`),
            `${where} has ${drawn.length} new secrets, beside ${kept} that were there. Keep a copy where each region's law lets you.`,
          ],
    json: { file: secretsFile, drawn, kept },
    exitCode: 0,
  };
}

/** @throws CannotStart when the files are not sound, or one of another content is there. */
export async function edgeSettingsCommand(path: string, out: string): Promise<Answer> {
  const { operator, secrets } = await openInstallation(resolve(path));
  const files = [...operator.catalogue.regions.keys()].map((region) => ({
    path: join(resolve(out), `${region}.env`),
    text: environmentText(region, secrets.edge(region)),
    whose: `the edges of ${region}`,
  }));
  return handedOut(files);
}

/** @throws CannotStart when the files are not sound, or one of another content is there. */
export async function passwordFilesCommand(path: string, out: string): Promise<Answer> {
  const { operator, installation } = await openInstallation(resolve(path));
  const { passwordFile } = installation.subscriptions;
  if (passwordFile === undefined) {
    throw new CannotStart(
      `${shown(resolve(path))}  names no subscriptions.passwordFile, so servers need none`,
    );
  }
  const { regions } = operator.catalogue;
  const wanted = Map.groupBy(passwordsWanted(operator), ({ reader }) => reader);
  const files = [...wanted].map(([reader, all]) => ({
    path: join(resolve(out), `${reader}.passwords`),
    text: all.flatMap(({ database, entries }) => entries.map(lineOf(database))).join(''),
    whose: `${
      regions
        .get(reader)
        ?.nodes.map(({ name }) => name)
        .join(', ') ?? reader
    }, as ${passwordFile}`,
  }));
  return handedOut(files);
}

function lineOf(database: string) {
  return ({ to, user, password }: PasswordEntry) =>
    `${[to.host, String(to.port), database, user, password]
      .map((field) => field.replaceAll(/[\\:]/g, '\\$&'))
      .join(':')}\n`;
}

type HandedOut = { path: string; text: string; whose: string };

async function handedOut(files: readonly HandedOut[]): Promise<Answer> {
  const there = await Promise.all(files.map((file) => textOf(file.path)));
  const other = files.filter(({ text }, nth) => there[nth] !== undefined && there[nth] !== text);
  if (other.length > 0) {
    throw new CannotStart(
      other
        .map(
          (file) => `${shown(file.path)}  says something else: remove it, or name another folder`,
        )
        .join('\n'),
    );
  }
  for (const { path, text } of files) {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await writePrivately(path, text);
  }
  return {
    lines: files.map(({ path, whose }) => `${shown(path)} is for ${whose}, and for nobody else`),
    json: { files: files.map(({ path }) => path) },
    exitCode: 0,
  };
}

/** Of one line each; values that could be read in two ways are refused. */
function environmentText(region: string, settings: Readonly<Record<string, string>>): string {
  const lines = Object.entries(settings).map(([name, value]) => {
    if (!/^[A-Z][A-Z0-9_]*$/.test(name) || !/^[A-Za-z0-9_.,:/@%+=-]*$/.test(value)) {
      throw new CannotStart(
        `${region}.edge.${name}: cannot be written as a line of a file of settings`,
      );
    }
    return `${name}=${value}\n`;
  });
  return `# What the edges of ${region} start with. Written by "domicile edge-settings".\n${lines.join('')}`;
}

async function textOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    if (code === undefined) throw error;
    throw new CannotStart(`${shown(path)}  cannot be read (${code})`);
  }
}
