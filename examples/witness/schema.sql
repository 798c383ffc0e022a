-- What a checker writes and reads. Nothing here forbids a value to stand twice, or a stock to fall
-- below zero: a mistake of the system has to show itself to the checker, and not to end as a refusal.

create table users (
  id       text primary key,
  country  text not null check (country ~ '^[A-Z]{2}$'),
  -- A text that occurs in the data of one home only; so has every other table.
  mark     text not null
);

-- Lists that only grow. The position is drawn in the transaction that appends.
create table list_items (
  user_id   text not null references users,
  list      text not null,
  position  integer not null,
  value     bigint not null,
  mark      text not null,
  primary key (user_id, list, position)
);

create table registers (
  user_id   text not null references users,
  register  text not null,
  value     bigint not null,
  mark      text not null,
  primary key (user_id, register)
);

-- A product that nobody has ordered has no row and the app's number of units.
create table stock (
  user_id     text not null references users,
  product     text not null,
  units_left  integer not null,
  primary key (user_id, product)
);

create table orders (
  id        uuid primary key default uuidv7(),
  user_id   text not null references users,
  product   text not null,
  quantity  integer not null check (quantity > 0),
  value     bigint not null,
  mark      text not null
);
create index orders_by_product on orders (user_id, product);

create table notices (
  user_id  text primary key references users,
  value    bigint not null,
  mark     text not null
);
