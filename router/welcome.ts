/**
 * What can somebody do with a local world that has just come up?
 *
 * Talk to its edges. What the storefront can be asked is known here, in words that fit it and its
 * regions; of every other app only its edges can say what it serves.
 */
import { extname } from 'node:path';
import type { Catalogue } from '../regions/catalogue.ts';
import { ownModule } from '../regions/own-module.ts';
import { shown } from './read-files.ts';

export const STOREFRONT = ownModule(import.meta.url, '../examples/storefront/app');

/** Where each edge says which routes it has. */
const DESCRIPTION = '/.domicile/openapi.json';

/** The folder of a world that commands take without being told. */
const USUAL_ROOT = '.domicile';

/**
 * `app` is an absolute path; `targets` the file by which a Prometheus finds the edges, `root` the
 * folder of the world.
 */
export function welcome(
  app: string,
  catalogue: Catalogue,
  targets: string,
  root: string,
): string[] {
  const regions = [...catalogue.regions.values()];
  const first = (id: string) => catalogue.regions.get(id)?.edges[0]?.url;
  const [us, eu, asia] = [first('us'), first('eu'), first('asia')];
  const isKnown = app === STOREFRONT && us !== undefined && eu !== undefined && asia !== undefined;
  return [
    '',
    ...regions.map(
      ({ id, title, edges, nodes, airlocks }) =>
        `  ${id.padEnd(6)} ${edges.map(({ url }) => url).join(' ')}   Postgres ${nodes.map(({ port }) => port).join(', ')}, airlock ${airlocks.map(({ port }) => port).join(', ')}   ${title}`,
    ),
    '',
    ...(isKnown ? ofStorefront({ us, eu, asia }) : ofAnyApp(regions[0]?.edges[0]?.url ?? '')),
    '',
    `Every edge has a console, such as ${regions[0]?.edges[0]?.url}/console; "${tokenCommand(root)}" prints what to sign in with.`,
    `Edges and keepers answer /metrics on this machine; a Prometheus finds them by ${targets}`,
    'Ctrl-C ends everything that was started here.',
  ];
}

/** As it can be typed where the world was started: in the source tree, or where the package is installed. */
function tokenCommand(root: string): string {
  const domicile = extname(import.meta.url) === '.ts' ? 'npm run domicile --' : 'npx domicile';
  const where = shown(root) === USUAL_ROOT ? '' : ` --root ${shown(root)}`;
  return `${domicile} console-token${where}`;
}

function ofStorefront({ us, eu, asia }: { us: string; eu: string; asia: string }): string[] {
  const json = `-H 'content-type: application/json'`;
  return [
    'Five lines to try in another terminal:',
    '',
    '  # A user from Germany signs up in Asia. The policy, not the place, decides: home is eu.',
    `  curl -i ${asia}/users ${json} -d '{"id":"ada","displayName":"Ada","email":"ada@example.org","country":"DE"}'`,
    '',
    '  # Her order is written in eu, wherever it was placed. Keep the session it answers with.',
    `  curl -i -c jar -b jar ${us}/users/ada/orders ${json} -d '{"items":[{"product":"lamp-brass","quantity":1}]}'`,
    '',
    '  # She reads her own write at every edge; look at Domicile-Served-By and Domicile-Decision.',
    `  curl -i -c jar -b jar ${eu}/users/ada/orders`,
    '',
    '  # Products are at home in us and read everywhere from the region’s own copy.',
    `  curl -i ${asia}/products`,
    '',
    '  # Nobody chooses a home against the policy.',
    `  curl -i ${us}/users ${json} -d '{"displayName":"Bo","email":"bo@example.org","country":"SE","home":"us"}'`,
  ];
}

function ofAnyApp(edge: string): string[] {
  return ['Every edge says what the app serves:', '', `  curl ${edge}${DESCRIPTION}`];
}
