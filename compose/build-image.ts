/**
 * What would the image have in it, and how would it start?
 *
 * Runs the Dockerfile's steps in a plain folder instead of an image: a stage is a folder, its base is
 * this machine. Knows the few instructions that our Dockerfile uses and refuses every other one. What
 * it cannot see is the base image itself: only its Node is held against the one that runs here.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';

export type Image = {
  /** Stands for `/` of the image. */
  folder: string;
  workdir: string;
  user: { uid: number; gid: number } | undefined;
  env: Readonly<Record<string, string>>;
  entrypoint: readonly string[];
  command: readonly string[];
};

export type Instruction = { line: number; word: string; rest: string };

const KNOWN = /^(FROM|WORKDIR|COPY|RUN|ENV|USER|VOLUME|EXPOSE|ENTRYPOINT|CMD)$/;

export function readDockerfile(text: string): {
  instructions: Instruction[];
  complaints: string[];
} {
  const instructions: Instruction[] = [];
  const complaints: string[] = [];
  for (const [i, line] of text.split('\n').entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const [, word = '', rest = ''] = /^([A-Z]+) (.+)$/.exec(line) ?? [];
    if (!KNOWN.test(word)) complaints.push(`Dockerfile:${i + 1}  "${line}" is no step known here`);
    else instructions.push({ line: i + 1, word, rest });
  }
  const user = instructions.findLast(({ word }) => word === 'USER')?.rest ?? 'root';
  if (!/^[1-9]\d*:[1-9]\d*$/.test(user)) complaints.push(`Dockerfile  runs as ${user}`);
  for (const { line, word, rest } of instructions) {
    if (word === 'FROM' && !/:v?\d+\.\d+\.\d+/.test(rest)) {
      complaints.push(`Dockerfile:${line}  "${rest}" has no full version`);
    }
  }
  return { instructions, complaints };
}

/** Which of these paths the builder is sent; the last line that matches a path decides. */
export function sentToBuilder(paths: readonly string[], ignore: string): string[] {
  const rules = ignore
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => ({ keep: line.startsWith('!'), pattern: globOf(line.replace(/^!/, '')) }));
  return paths.filter((path) => {
    const parents = path.split('/').map((_, i, words) => words.slice(0, i + 1).join('/'));
    const last = rules.findLast(({ pattern }) => parents.some((one) => pattern.test(one)));
    return last === undefined || last.keep;
  });
}

/** As the builder has it: a star takes a leading dot as well, unlike that of Node. */
function globOf(pattern: string): RegExp {
  const source = pattern
    .replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&')
    .replaceAll(/\*\*\/|\*/g, (star) => (star === '*' ? '[^/]*' : '(?:.*/)?'));
  return new RegExp(`^${source}$`);
}

/** `context` holds what the builder is sent, and nothing else. */
export function buildImage(
  instructions: readonly Instruction[],
  context: string,
  scratch: string,
  report: (step: string) => void,
): Image {
  const stages = new Map<string, string>();
  let image = emptyImage(scratch);
  for (const { line, word, rest } of instructions) {
    const step = `Dockerfile:${line}  ${word} ${rest}`;
    switch (word) {
      case 'FROM': {
        const [, version = '', name = ''] = /^node:([\d.]+)\S*(?: AS (\w+))?$/.exec(rest) ?? [];
        if (version !== process.versions.node) {
          throw new Error(`${step}: here is Node ${process.versions.node}`);
        }
        image = emptyImage(scratch);
        stages.set(name, image.folder);
        // As in the image, and where its user may run it.
        const bin = join(image.folder, 'usr/local/bin');
        mkdirSync(bin, { recursive: true });
        cpSync(process.execPath, join(bin, 'node'));
        break;
      }
      case 'WORKDIR':
        image = { ...image, workdir: rest };
        mkdirSync(join(image.folder, rest), { recursive: true });
        break;
      case 'COPY':
        copy(rest, image, context, stages);
        break;
      case 'RUN':
        report(step);
        run(rest, image);
        break;
      case 'ENV': {
        const [, name = '', value = ''] = /^(\w+)=(\S+)$/.exec(rest) ?? [];
        if (name === '') throw new Error(`${step}: not NAME=value`);
        image = { ...image, env: { ...image.env, [name]: value } };
        break;
      }
      case 'USER': {
        const [uid = 0, gid = 0] = rest.split(':').map(Number);
        image = { ...image, user: { uid, gid } };
        break;
      }
      case 'ENTRYPOINT':
        image = { ...image, entrypoint: JSON.parse(rest) as string[] };
        break;
      case 'CMD':
        image = { ...image, command: JSON.parse(rest) as string[] };
        break;
      case 'VOLUME':
        if (!existsSync(join(image.folder, rest))) throw new Error(`${step}: it is not there`);
        break;
    }
  }
  return image;
}

function emptyImage(scratch: string): Image {
  const folder = mkdtempSync(join(scratch, 'stage-'));
  chmodSync(folder, 0o755);
  return { folder, workdir: '/', user: undefined, env: {}, entrypoint: [], command: [] };
}

function copy(
  rest: string,
  { folder, workdir }: Image,
  context: string,
  stages: ReadonlyMap<string, string>,
): void {
  const words = rest.split(' ');
  const [, stage] = /^--from=(\w+)$/.exec(words[0] ?? '') ?? [];
  const from = stage === undefined ? context : stages.get(stage);
  if (from === undefined) throw new Error(`COPY ${rest}: there is no stage ${stage}`);
  const sources = words.slice(stage === undefined ? 0 : 1, -1);
  const target = words.at(-1) ?? '';
  const into = join(folder, resolve(workdir, target));
  for (const source of sources) {
    const path = join(from, source);
    const asFolder = statSync(path).isDirectory();
    const to = asFolder ? into : target.endsWith('/') ? join(into, basename(path)) : into;
    mkdirSync(dirname(to), { recursive: true });
    cpSync(path, to, { recursive: true, verbatimSymlinks: true });
  }
}

/** The image's own absolute paths lead into its folder; only root may give files away. */
function run(rest: string, { folder, workdir }: Image): void {
  const mayGive = process.geteuid?.() === 0;
  const script = rest
    .replaceAll(/(?<=\s)\/(?=world|app)/g, `${folder}/`)
    .replaceAll(/\bchown (?=\d)/g, mayGive ? 'chown ' : 'true ');
  execFileSync('sh', ['-ec', script], {
    cwd: join(folder, workdir),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}
