/**
 * Is this `installation.yaml` usable, and what does it say of servers that Domicile did not start?
 *
 * Which files belong together, as whom an operator comes in, what the servers bring of their own,
 * and how they reach each other. Addresses are in the regions file, secrets in a file of their own.
 */
import * as z from 'zod';
import type { Catalogue, RegionId } from './catalogue.ts';
import { TLS_MODES } from './read-catalogue.ts';
import { type Complaint, complaintAt, type Path, quote, type Source } from './yaml-complaint.ts';
import { readYaml } from './yaml-file.ts';
import { nearest } from './yaml-suggestion.ts';

export const SUPERUSER_DEFAULT = 'postgres';
export const SECRETS_DEFAULT = 'secrets.json';
export const APP_DEFAULT = 'app.ts';

/** What a role may be that nobody may be in silence. */
export const ROLE_ATTRIBUTES = [
  'login',
  'superuser',
  'replication',
  'bypassrls',
  'createrole',
  'createdb',
] as const;
type Attributes = readonly (typeof ROLE_ATTRIBUTES)[number][];

export type Place = { host: string; port: number };

export type Installation = {
  /** As written: from where the file lies. */
  files: {
    app: string;
    policy?: string;
    regions?: string;
    schema?: string;
    secrets: string;
  };
  superuser: (region: RegionId) => string;
  /** Roles that the servers of a region bring, its superuser among them. */
  roles: (region: RegionId) => Record<'private' | 'airlock', ReadonlyMap<string, Attributes>>;
  /** Where commands reach a server, by its name; elsewhere at its address in the regions file. */
  reach: ReadonlyMap<string, Place>;
  /** Where the servers of a region reach another server. */
  links: readonly ({ from: RegionId; to: string } & Place)[];
  subscriptions: {
    /** A libpq password file on every server; undefined: passwords stand in the subscriptions. */
    passwordFile: string | undefined;
    /** Further words of libpq, such as sslmode. */
    parameters: Readonly<Record<string, string>>;
  };
};

export type InstallationReading =
  | { installation: Installation }
  | { complaints: readonly [Complaint, ...Complaint[]] };

const ROLE = /^[a-z_][a-z0-9_$]{0,62}$/;
const HOST =
  /^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*)$/;
/** In a conninfo and in a password file it stands as it is. */
const PATH = /^\/[^\p{Cc}]+$/u;
const WORDS = /^[^\p{Cc}]+$/u;

const role = z
  .string()
  .regex(ROLE, 'is not a role: lower-case letters, digits and underscores')
  .describe('Name of a role of the servers.');
const host = z
  .string()
  .regex(HOST, 'is not a host name or an address')
  .describe('Host name or IP address, without the port.');
const port = z.int().min(1).max(65_535).describe('The port that leads to Postgres.');
const file = (what: string) => z.string().min(1).max(500).optional().describe(what);

const roles = z
  .record(role, z.array(z.enum(ROLE_ATTRIBUTES)))
  .optional()
  .describe('What each role may be, such as [login, replication].');

const rolesOfServers = z.strictObject({ private: roles, airlock: roles });

const parameter = (what: string) =>
  z.string().regex(WORDS, 'is empty or has a control character').max(500).optional().describe(what);

export const InstallationFile = z
  .strictObject({
    version: z.literal(1).describe('The version of this file format: 1.'),
    files: z
      .strictObject({
        app: file(`The app module. Default: ${APP_DEFAULT} beside this file.`),
        policy: file('The residency policy. Default: residency.yaml beside the app.'),
        regions: file('The regions. Default: regions.yaml beside the app.'),
        schema: file('The tables of the app. Default: schema.sql beside the app.'),
        secrets: file(
          `The passwords and keys, in JSON, for nobody but their owner. Default: ${SECRETS_DEFAULT} beside this file.`,
        ),
      })
      .optional()
      .describe('What belongs together; paths count from here.'),
    superuser: role.optional().describe(`As whom commands come in. Default: ${SUPERUSER_DEFAULT}.`),
    regions: z
      .record(
        z.string(),
        z.strictObject({
          superuser: role.optional().describe('As whom commands come in, in this region.'),
          roles: rolesOfServers.optional().describe('Further roles that its servers bring.'),
        }),
      )
      .optional()
      .describe('What is different in a region.'),
    roles: rolesOfServers
      .optional()
      .describe(
        'Roles that the servers bring and that may do more than log in, such as the one that Patroni replicates as. A role with such rights that is named nowhere loses them.',
      ),
    reach: z
      .record(z.string(), z.strictObject({ host, port }))
      .optional()
      .describe(
        'Where commands reach a server from here, by its name, such as through a tunnel. Default: its address in the regions file.',
      ),
    links: z
      .array(
        z.strictObject({
          from: z.string().describe('A region.'),
          to: z.string().describe('A node of it, or an airlock of another region that it reads.'),
          host,
          port,
        }),
      )
      .optional()
      .describe(
        'Where the servers of a region reach another server, if not at its address in the regions file.',
      ),
    subscriptions: z
      .strictObject({
        passwordFile: z
          .string()
          .regex(PATH, 'is not an absolute path')
          .max(500)
          .optional()
          .describe(
            'A libpq password file that lies on every server, as "domicile password-files" writes it.',
          ),
        inlinePasswords: z
          .literal(true)
          .optional()
          .describe(
            'Passwords stand in the subscriptions instead. A peer may copy an airlock, and would read there what opens its private cluster: for tries only.',
          ),
        parameters: z
          .strictObject({
            sslmode: z
              // Not allow and prefer: whoever stands between the two could talk them out of TLS.
              .enum(TLS_MODES)
              .optional()
              .describe('Whether servers speak TLS with each other.'),
            sslrootcert: parameter('The authorities, on the servers.'),
            sslcert: parameter('The certificate of the subscriber, on the servers.'),
            sslkey: parameter('Its key, on the servers.'),
            channel_binding: z
              .enum(['disable', 'prefer', 'require'])
              .optional()
              .describe('Whether the password is bound to the TLS connection.'),
            gssencmode: z
              .enum(['disable', 'prefer', 'require'])
              .optional()
              .describe('Whether servers speak GSSAPI encryption with each other.'),
          })
          .optional()
          .describe('Further parameters of libpq in every subscription.'),
      })
      .optional()
      .describe('How servers read each other.'),
  })
  .meta({
    title: 'Domicile installation',
    description: 'How commands reach servers that Domicile did not start.',
  });

export type InstallationFile = z.infer<typeof InstallationFile>;

/** With a catalogue, names of regions and servers are looked up there. */
export function readInstallation(
  text: string,
  file: string,
  catalogue?: Catalogue,
): InstallationReading {
  const reading = readYaml(text, file, InstallationFile, (value, source) => [
    ...judgePasswords(value, source),
    ...(catalogue === undefined ? [] : judge(value, source, catalogue)),
  ]);
  return 'ok' in reading ? { installation: installation(reading.ok) } : reading;
}

function installation(written: InstallationFile): Installation {
  const { superuser = SUPERUSER_DEFAULT, regions = {}, subscriptions = {} } = written;
  const { app = APP_DEFAULT, secrets = SECRETS_DEFAULT, policy, schema } = written.files ?? {};
  const parameters = Object.entries(subscriptions.parameters ?? {});
  const inRegion = (region: RegionId) => (Object.hasOwn(regions, region) ? regions[region] : {});
  const superuserOf = (region: RegionId) => inRegion(region)?.superuser ?? superuser;
  const rolesOf = (region: RegionId, kind: 'private' | 'airlock') =>
    new Map<string, Attributes>([
      // As initdb makes it; the file may say that it is less.
      [superuserOf(region), ROLE_ATTRIBUTES],
      ...Object.entries(written.roles?.[kind] ?? {}),
      ...Object.entries(inRegion(region)?.roles?.[kind] ?? {}),
    ]);
  return {
    files: {
      app,
      secrets,
      ...(policy !== undefined && { policy }),
      ...(schema !== undefined && { schema }),
      ...(written.files?.regions !== undefined && { regions: written.files.regions }),
    },
    superuser: superuserOf,
    roles: (region) => ({
      private: rolesOf(region, 'private'),
      airlock: rolesOf(region, 'airlock'),
    }),
    reach: new Map(Object.entries(written.reach ?? {})),
    links: written.links ?? [],
    subscriptions: {
      passwordFile: subscriptions.passwordFile,
      parameters: Object.fromEntries(
        parameters.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
      ),
    },
  };
}

/** What opens a private cluster is not to be left where a peer may look by mistake. */
function judgePasswords({ subscriptions = {} }: InstallationFile, source: Source): Complaint[] {
  const { passwordFile, inlinePasswords } = subscriptions;
  const say = (key: string, message: string) => [
    complaintAt(source, ['subscriptions', key], { message, at: 'key' }),
  ];
  if (passwordFile === undefined && inlinePasswords === undefined) {
    return say('passwordFile', 'missing: the libpq password file that lies on every server');
  }
  if (passwordFile === undefined || inlinePasswords === undefined) return [];
  return say('inlinePasswords', 'stands beside passwordFile: one of them');
}

function judge(written: InstallationFile, source: Source, { regions }: Catalogue): Complaint[] {
  const complaints: Complaint[] = [];
  const known = (path: Path, what: string, name: string, names: readonly string[], at?: 'key') => {
    if (names.includes(name)) return;
    complaints.push(
      complaintAt(source, path, {
        message: `${what} ${quote(name)}`,
        suggestion: nearest(name, names),
        ...(at !== undefined && { at }),
      }),
    );
  };
  const ids = [...regions.keys()];
  const servers = [...regions.values()].flatMap(({ nodes, airlocks }) => [...nodes, ...airlocks]);
  const names = servers.map(({ name }) => name);
  for (const id of Object.keys(written.regions ?? {})) {
    known(['regions', id], 'the regions file has no region', id, ids, 'key');
  }
  for (const name of Object.keys(written.reach ?? {})) {
    known(['reach', name], 'the regions file has no server', name, names, 'key');
  }
  const seen = new Set<string>();
  (written.links ?? []).forEach(({ from, to }, nth) => {
    const path = ['links', nth];
    known([...path, 'from'], 'the regions file has no region', from, ids);
    const own = regions.get(from)?.nodes ?? [];
    const read = [...regions.values()].flatMap(({ id, airlocks }) =>
      id === from ? [] : airlocks.filter(({ peers }) => peers.includes(from)),
    );
    if (regions.has(from)) {
      known(
        [...path, 'to'],
        `no server that ${from} reads is called`,
        to,
        [...own, ...read].map(({ name }) => name),
      );
    }
    const pair = `${from} ${to}`;
    if (seen.has(pair)) {
      complaints.push(
        complaintAt(source, path, { message: `the link from ${from} to ${to} is given twice` }),
      );
    }
    seen.add(pair);
  });
  return complaints;
}
