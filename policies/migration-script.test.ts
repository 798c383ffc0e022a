import { expect, test } from 'vitest';
import { checkScript, lineAndColumn, statementsOf } from './migration-script.ts';

const texts = (script: string) => statementsOf(script).map(({ text }) => text);
const complaints = (script: string) =>
  checkScript(script).map(({ at, message }) => {
    const { line, column } = lineAndColumn(script, at);
    return `${line}:${column} ${message}`;
  });

test('statements end at semicolons, but not at those in texts, comments and bodies', () => {
  expect(
    texts(`-- one; two
      select ';', "a;b", $$;$$, $q$ $$ ; $q$, E'\\';' /* ; /* ; */ ; */ from t ;
      ;
      create function f() returns int language sql begin atomic
        select case when true then 1 else 2 end; select 3; end;
      create table "end" (a int); select 1`),
  ).toEqual([
    `select ';', "a;b", $$;$$, $q$ $$ ; $q$, E'\\';' /* ; /* ; */ ; */ from t `,
    `create function f() returns int language sql begin atomic
        select case when true then 1 else 2 end; select 3; end`,
    'create table "end" (a int)',
    'select 1',
  ]);
  expect(texts(' -- nothing\n;;')).toEqual([]);
  expect(statementsOf('-- é\n  select 1')).toEqual([{ text: 'select 1', at: 7 }]);
});

test.each([
  ['begin', 'begin;'],
  ['commit', 'create table a (id int);\n  COMMIT;'],
  ['end', 'end'],
  ['rollback', 'rollback to a'],
  ['savepoint', 'savepoint a'],
  ['start', 'start transaction'],
  ['prepare', `prepare transaction 'a'`],
  ['would outlive', 'set search_path = x'],
  ['would outlive', 'set session authorization somebody'],
  ['as nobody else', 'set local role somebody'],
  ['others use the connection', 'reset all'],
  ['from stdin', 'copy users from stdin'],
  ['no publication', 'alter publication domicile_out_us_x add table users'],
  ['no publication', 'create /* a */ publication p for all tables'],
  ['no subscription', 'drop subscription domicile_from_us'],
  ['"concurrently"', 'create index concurrently on users (email)'],
  ['row security is', 'alter table users DISABLE row level\n security'],
  ['row security is', 'alter table users no force row level security'],
  ['replica identity', 'alter table users replica identity full'],
  ['domicile_home', 'alter table users drop constraint "domicile_home"'],
  ['go around', 'set local session_replication_role = replica'],
  ['go around', 'set local row_security = off'],
  ['schema domicile belongs', 'delete from domicile.residents'],
  ['schema domicile belongs', 'select "domicile" . settle(1)'],
  ['schema mirror_us belongs', 'alter table mirror_us.users add x int'],
  ['schema mirror belongs', 'create view mirror.mine as select 1'],
  ['schema mirror_eu belongs', 'drop schema mirror_eu cascade'],
  ['schema domicile_migrations belongs', 'truncate domicile_migrations.applied'],
])('%s: refused in %j', (word, script) => {
  expect(complaints(script)).toEqual([expect.stringContaining(word)]);
});

test.each([
  'alter table users add nickname text',
  `insert into products select 'a', 'begin; commit' where domicile.here() = 'us'`,
  'create table terms (id int, "begin" int) -- commit;',
  'set local statement_timeout = 0',
  'set constraints all deferred',
  'do $$ begin perform 1; end $$',
  'create table mirrors (domicile text)',
  'select mirror from users',
])('nothing is said against %j', (script) => {
  expect(complaints(script)).toEqual([]);
});

test('a complaint names line and column', () => {
  expect(complaints('select 1;\n-- 😀\n/* é */ commit;')[0]).toMatch(/^3:9 "commit" must not/);
});
