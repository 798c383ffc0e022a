/**
 * In what form is the provider's schema kept here?
 *
 * As `provider-schema.json` has it: an argument is its type and whether it is required, optional or
 * computed, in one line. `extract-schema.ts` writes it, and the tests' stand-in provider tells it to
 * Terraform.
 */

/** `string required`, `list(string) optional`, `set(object(name:string)) computed`. */
export type Arguments = Record<string, string>;

export type BlockSchema = { arguments: Arguments; blocks: Record<string, NestedBlock> };

export type NestedBlock = BlockSchema & {
  nesting: 'single' | 'list' | 'set';
  min: number;
  /** 0: as many as one likes. */
  max: number;
};

export type ProviderSchema = {
  /** The package that it was read from. */
  from: string;
  /** The provider that the package was made from. */
  provider: string;
  configuration: BlockSchema;
  resources: Record<string, BlockSchema>;
  data: Record<string, BlockSchema>;
};

/** A type as Terraform writes it down: JSON, in which a list of strings is `["list","string"]`. */
export function jsonType(text: string): unknown {
  const inner = /^(list|set|map)\((.+)\)$/.exec(text);
  if (inner !== null) return [inner[1], jsonType(inner[2] ?? '')];
  const members = /^object\((.+)\)$/.exec(text)?.[1];
  if (members === undefined) return text === 'any' ? 'dynamic' : text;
  return [
    'object',
    Object.fromEntries(
      members.split(',').map((member) => {
        const [name = '', type = ''] = member.split(':');
        return [name, jsonType(type)];
      }),
    ),
  ];
}
