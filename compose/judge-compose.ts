/**
 * Is this compose file sound, as far as one can see without a Docker engine?
 *
 * It keeps to the schema of the Compose Specification; every image has a version; what is mounted is
 * there; nothing but this machine is listened to. Whether images exist is for a registry to say.
 */
import * as z from 'zod';

export type Service = {
  image?: string;
  command?: readonly string[];
  environment?: Readonly<Record<string, string>>;
  volumes?: readonly string[];
  ports?: readonly string[];
  user?: string;
  network_mode?: string;
};
export type ComposeFile = { services: Readonly<Record<string, Service>> };

export function judgeCompose(
  file: unknown,
  schema: Readonly<Record<string, unknown>>,
  exists: (path: string) => boolean,
): { file: ComposeFile } | { complaints: string[] } {
  const read = z.fromJSONSchema(schema as Parameters<typeof z.fromJSONSchema>[0]).safeParse(file);
  if (!read.success) return { complaints: said(read.error.issues) };
  const { services } = file as ComposeFile;
  const complaints = Object.entries(services).flatMap(([name, service]) =>
    complaintsOf(service, services, exists).map((text) => `services.${name}  ${text}`),
  );
  return complaints.length > 0 ? { complaints } : { file: file as ComposeFile };
}

function complaintsOf(
  { image = '', volumes = [], ports = [], network_mode: shared }: Service,
  services: ComposeFile['services'],
  exists: (path: string) => boolean,
): string[] {
  const complaints: string[] = [];
  if (!/:v?\d+\.\d+\.\d+/.test(image)) complaints.push(`image "${image}" has no full version`);
  for (const volume of volumes) {
    const [source = '', , mode] = volume.split(':');
    if (!source.startsWith('.')) continue;
    if (!exists(source)) complaints.push(`volume "${source}" is not there`);
    if (mode !== 'ro') complaints.push(`volume "${source}" may be written to`);
  }
  for (const port of ports) {
    if (!/^127\.0\.0\.1:\d+:\d+$/.test(port)) complaints.push(`port "${port}" is open to others`);
  }
  const [, of] = /^service:(.+)$/.exec(shared ?? '') ?? [];
  if (of !== undefined && services[of] === undefined)
    complaints.push(`there is no service "${of}"`);
  if (of !== undefined && ports.length > 0) complaints.push(`ports belong to service "${of}"`);
  return complaints;
}

/** Unions hide what is wrong in their branches. */
function said(issues: readonly z.core.$ZodIssue[], above: readonly PropertyKey[] = []): string[] {
  return issues.flatMap((issue) => {
    const path = [...above, ...issue.path];
    const inner =
      issue.code === 'invalid_union' ? issue.errors.flatMap((one) => said(one, path)) : [];
    return inner.length > 0 ? inner : [`${path.map(String).join('.')}  ${issue.message}`];
  });
}
