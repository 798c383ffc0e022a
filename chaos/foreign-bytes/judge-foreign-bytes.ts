/**
 * Does a byte lie, or has one passed, where its home's policy does not let it?
 *
 * Looks at files and at nothing else: data directories with their write-ahead log, backups, logs of
 * all processes, and what `domicile up --record-wire` has recorded between regions. Where a mark may
 * be is stated by whoever wrote it. A look that did not find each home's mark at the home itself, or
 * none on a wire that it must have passed, was too poor to acquit anybody.
 */
import { readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Catalogue } from '../../regions/catalogue.ts';
import { dataDirectories } from '../../regions/local/world-folder.ts';
import type { Mark } from '../clients/population.ts';
import type { Judgement, Violation } from '../run-record.ts';
import { type Found, findMarks } from './find-marks.ts';

const JUDGE = 'no foreign byte';
const ROWS = "Rows only at home: no other region holds them, but for a mirror's columns";
const WIRE = 'What passes between regions is what policy mirrors, and requests on the way home';
const LOGS = "No value of somebody at home elsewhere stands in a process's log";

/** One place that is searched as a whole. */
type Place = {
  /** In words: `us-a, a node of us`. */
  says: string;
  folder: string;
  takes?: (path: string) => boolean;
  promise: string;
  /** `path` is that of a file, below the folder. */
  mayHold: (mark: Mark, path: string) => boolean;
  /** The home whose marks must be found here or in a place like it. */
  control: { home: string; of: 'disk' } | { of: 'wire' } | undefined;
};

export async function judgeForeignBytes({
  root,
  catalogue,
  markers,
}: {
  /** Folder of the world. */
  root: string;
  catalogue: Catalogue;
  markers: readonly Mark[];
}): Promise<Judgement> {
  const violations: Violation[] = [];
  const unread: string[] = [];
  const seenAtHome = new Set<string>();
  const wires = { recorded: false, seen: false };
  let files = 0;
  const texts = markers.map(({ text }) => text);
  const places = [
    ...(await diskPlaces(root, catalogue)),
    ...(await wirePlaces(root)),
    ...logPlaces(root, catalogue),
  ];
  for (const place of texts.length === 0 ? [] : places) {
    const search = await findMarks(place.folder, texts, place.takes);
    files += search.files;
    unread.push(...search.unread);
    const { control } = place;
    if (control?.of === 'wire' && search.files > 0) wires.recorded = true;
    for (const mark of markers) {
      const found = search.found.filter(({ text }) => text === mark.text);
      if (found.length === 0) continue;
      if (control?.of === 'disk' && control.home === mark.home) seenAtHome.add(mark.home);
      if (control?.of === 'wire') wires.seen = true;
      const foreign = found.filter(({ path }) => !place.mayHold(mark, path));
      if (foreign.length > 0) violations.push(violation(place, mark, foreign));
    }
  }
  const missing = [...new Set(markers.map(({ home }) => home))].filter(
    (home) => !seenAtHome.has(home),
  );
  const why =
    texts.length === 0
      ? 'there are no marks to look for'
      : missing.length > 0
        ? `the marks of ${missing.join(' and ')} were not found at home either`
        : wires.recorded && !wires.seen
          ? 'wires were recorded, and no mark was found on any'
          : unread.length > 0
            ? `not all could be read: ${unread.slice(0, 3).join(', ')}`
            : undefined;
  return {
    judge: JUDGE,
    verdict: violations.length > 0 ? 'broken' : why === undefined ? 'holds' : 'inconclusive',
    checked: files,
    violations,
    ...(why !== undefined && { why }),
  };
}

function violation({ says, promise }: Place, mark: Mark, found: readonly Found[]): Violation {
  const [first] = found;
  const more = found.length === 1 ? '' : `, and in ${found.length - 1} files more`;
  return {
    promise,
    says: `"${mark.text}", which is at home in ${mark.home}, lies in ${says}: ${first?.path} at byte ${first?.offset}${more}`,
    operations: [],
  };
}

async function diskPlaces(root: string, catalogue: Catalogue): Promise<Place[]> {
  const places: Place[] = [];
  for (const folder of await dataDirectories(root)) {
    const name = basename(dirname(folder));
    const place = { folder, promise: ROWS };
    const region = [...catalogue.regions.values()].find(
      // What a drill has restored lies under the name of its region.
      ({ id, nodes }) => id === name || nodes.some((node) => node.name === name),
    )?.id;
    const isAirlock = airlockNamed(catalogue, name);
    if (region !== undefined) {
      places.push({
        ...place,
        says: `${name}, a node of ${region}`,
        mayHold: ({ home, copies }) => home === region || copies.includes(region),
        control: { home: region, of: 'disk' },
      });
    } else if (isAirlock !== undefined) {
      const { of, peers } = isAirlock;
      places.push({
        ...place,
        says: `${name}, which ${peers.join(' and ')} may read`,
        mayHold: ({ home, copies }) => home === of && peers.every((peer) => copies.includes(peer)),
        control: undefined,
      });
    } else {
      places.push({
        ...place,
        says: `${name}, which is of no region`,
        mayHold: () => false,
        control: undefined,
      });
    }
  }
  for (const { id } of catalogue.regions.values()) {
    places.push({
      says: `the backups of ${id}`,
      folder: join(root, 'postgres', 'backups', id),
      promise: ROWS,
      mayHold: ({ home, copies }) => home === id || copies.includes(id),
      control: undefined,
    });
  }
  return places;
}

function airlockNamed(catalogue: Catalogue, name: string) {
  for (const { id, airlocks } of catalogue.regions.values()) {
    const airlock = airlocks.find((one) => one.name === name);
    if (airlock !== undefined) return { of: id, peers: airlock.peers };
  }
  return undefined;
}

/** As `--record-wire` lists them. */
type RecordedLink = { from: string; to: string; name: string; kind: string; folder: string };

async function wirePlaces(root: string): Promise<Place[]> {
  const folder = join(root, 'run', 'wire');
  const list = await readFile(join(folder, 'links.json'), 'utf8').catch(() => '[]');
  return (JSON.parse(list) as RecordedLink[]).map(({ from, to, name, kind, folder: below }) => ({
    says: `what passed between ${from} and ${name}, the ${kind} of ${to}`,
    folder: join(folder, below),
    promise: WIRE,
    // Requests about somebody, with their answers, go to the home; copies come from it.
    mayHold: ({ home, copies }: Mark) =>
      home === to && (kind === 'edge' || (kind === 'airlock' && copies.includes(from))),
    control: { of: 'wire' as const },
  }));
}

function logPlaces(root: string, catalogue: Catalogue): Place[] {
  const homes = new Map<string, string>(
    [...catalogue.regions.values()].flatMap(({ id, nodes, airlocks, edges }) =>
      [...nodes, ...airlocks, ...edges].map(({ name }) => [`${name}.log`, id] as const),
    ),
  );
  return ['logs', 'run'].map((below) => ({
    says: 'a log',
    folder: join(root, below),
    takes: (path: string) => path.endsWith('.log'),
    promise: LOGS,
    mayHold: ({ home }: Mark, path: string) => homes.get(path) === home,
    control: undefined,
  }));
}
