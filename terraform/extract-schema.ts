/**
 * What arguments does the AWS provider take, for the resources that these modules use?
 *
 * `npm exec -- node terraform/extract-schema.ts FOLDER` reads an unpacked `@cdktf/provider-aws`, whose
 * code was generated from the provider's own schema, and writes the part in use to
 * `provider-schema.json`. Run it when a module begins to use another type of resource.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Arguments, BlockSchema, ProviderSchema } from './provider-schema.ts';

/** Not in use, and here so that a test can show that using them is noticed. */
const FORBIDDEN = ['aws_s3_bucket_replication_configuration', 'aws_kms_replica_key'];

const HERE = import.meta.dirname;

function main(folder: string): void {
  const { name, version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
    name: string;
    version: string;
  };
  const readme = readFileSync(join(folder, 'README.md'), 'utf8');
  const provider = /provider version (\S+)/.exec(readme)?.[1] ?? 'of an unknown version';
  const types = [...new Set([...inUse('resource'), ...FORBIDDEN])].sort();
  const schema: ProviderSchema = {
    from: `${name} ${version}`,
    provider: `hashicorp/aws ${provider}`,
    configuration: blockOf(folder, 'provider'),
    resources: Object.fromEntries(types.map((type) => [type, described(folder, '', type)])),
    data: Object.fromEntries(
      inUse('data').map((type) => [type, described(folder, 'data-aws-', type)]),
    ),
  };
  writeFileSync(join(HERE, 'provider-schema.json'), `${JSON.stringify(schema, null, 2)}\n`);
}

function inUse(kind: 'resource' | 'data'): string[] {
  const files = readdirSync(HERE, { recursive: true, encoding: 'utf8' });
  const types = files
    .filter((file) => file.endsWith('.tf'))
    .flatMap((file) => [
      ...readFileSync(join(HERE, file), 'utf8').matchAll(new RegExp(`^${kind} "(aws_\\w+)"`, 'gm')),
    ])
    .map(([, type = '']) => type);
  return [...new Set(types)].sort();
}

function described(folder: string, prefix: string, type: string): BlockSchema {
  const own = prefix + type.replace(/^aws_/, '').replaceAll('_', '-');
  // Names that JavaScript or the generator has taken have a suffix.
  const module = [own, `${own}-resource`].find((one) => existsSync(join(folder, 'lib', one)));
  if (module === undefined) throw new Error(`${type} is not in the package`);
  return blockOf(folder, module);
}

type Generated = { code: string; declared: string };

function blockOf(folder: string, module: string): BlockSchema {
  const code = readFileSync(join(folder, 'lib', module, 'index.js'), 'utf8');
  const declared = readFileSync(join(folder, 'lib', module, 'index.d.ts'), 'utf8');
  const className =
    /class (\w+) extends cdktf\.Terraform(?:Resource|DataSource|Provider)/.exec(code)?.[1] ?? '';
  const body = section(code, `class ${className} extends cdktf.Terraform`, '\n}\n');
  const attributes = section(body, 'synthesizeHclAttributes() {', '\n    }');
  const block = fields({ code, declared }, attributes, `${className}Config`);
  Object.assign(block.arguments, computed(code, body, block));
  // The generator does not say which optional arguments the provider fills in. It does fill in these.
  for (const name of ['id', 'region']) {
    const own = block.arguments[name];
    if (own?.endsWith('optional')) block.arguments[name] = `${own} computed`;
  }
  return sorted(block);
}

/** What can be written, from the functions that write it. */
function fields(generated: Generated, attributes: string, interfaceName: string): BlockSchema {
  const { code, declared } = generated;
  const shape = section(declared, `interface ${interfaceName} `, '\n}');
  const block: BlockSchema = { arguments: {}, blocks: {} };
  const entry =
    /(\w+): \{\s+value: (.+),\s+isBlock: (true|false),\s+type: "(\w+)",\s+storageClassType: "(\w+)",/g;
  for (const [, name = '', value = '', isBlock, kind = '', storage = ''] of attributes.matchAll(
    entry,
  )) {
    // Some properties are named otherwise; the link to the documentation has the argument's own name.
    const written = new RegExp(`#${name} [^}]*\\}[\\s\\S]*?\\*/\\s+readonly \\w+(\\??): (.+)`).exec(
      shape,
    );
    if (written === null) {
      throw new Error(`${interfaceName} has no ${name}`);
    }
    const isRequired = written[1] === '';
    if (isBlock === 'false') {
      const type = typeOf(kind, storage);
      block.arguments[name] = `${type} ${isRequired ? 'required' : 'optional'}`;
      continue;
    }
    const writer = /(\w+)ToHclTerraform/.exec(value)?.[1] ?? '';
    const inner = section(code, `function ${writer}ToHclTerraform(`, '\n}\n');
    const isMany = /\[\]/.test(written[2] ?? '');
    block.blocks[name] = {
      nesting: kind === 'struct' ? 'single' : kind === 'set' ? 'set' : 'list',
      min: isRequired ? 1 : 0,
      max: isMany || kind === 'struct' ? 0 : 1,
      ...fields(generated, inner, upperFirst(writer)),
    };
  }
  return block;
}

/** What can only be read, from the getters that have no setter. */
function computed(code: string, body: string, { arguments: own, blocks }: BlockSchema): Arguments {
  const found: Arguments = {};
  for (const [, expression = '', name = ''] of body.matchAll(
    /return (.*\b(?:get|interpolationFor)\w*Attribute)\('(\w+)'\)/g,
  )) {
    if (own[name] === undefined && blocks[name] === undefined) {
      found[name] = `${readType(expression)} computed`;
    }
  }
  for (const [, list = '', name = '', wrapsSet] of body.matchAll(
    /= new (\w+)List\(this, "(\w+)", (true|false)\)/g,
  )) {
    if (own[name] !== undefined || blocks[name] !== undefined) continue;
    const inner = section(code, `class ${list}OutputReference extends`, '\n}\n');
    const members = [...inner.matchAll(/return (.*\bget\w*Attribute)\('(\w+)'\)/g)].map(
      ([, expression = '', member = '']) => `${member}:${readType(expression)}`,
    );
    found[name] = `${wrapsSet === 'true' ? 'set' : 'list'}(object(${members.join(',')})) computed`;
  }
  return found;
}

function typeOf(kind: string, storage: string): string {
  const element = storage.replace(/(List|Map)$/, '').replace('boolean', 'bool');
  return kind === 'simple' ? element : `${kind}(${element})`;
}

function readType(expression: string): string {
  const element = /Number/.test(expression)
    ? 'number'
    : /Boolean/.test(expression)
      ? 'bool'
      : 'string';
  if (/Map/.test(expression)) return `map(${element})`;
  if (/tolist/.test(expression)) return `set(${element})`;
  return /List/.test(expression) ? `list(${element})` : element;
}

function section(text: string, from: string, to: string): string {
  const start = text.indexOf(from);
  const end = text.indexOf(to, start);
  if (start < 0 || end < 0) throw new Error(`nothing begins with "${from}"`);
  return text.slice(start, end);
}

function sorted(block: BlockSchema): BlockSchema {
  const byName = <T>(record: Record<string, T>) =>
    Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));
  return { arguments: byName(block.arguments), blocks: byName(block.blocks) };
}

function upperFirst(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}

const [folder] = process.argv.slice(2);
if (folder === undefined) {
  console.error('usage: extract-schema.ts <folder of an unpacked @cdktf/provider-aws>');
  process.exitCode = 2;
} else {
  main(folder);
}
