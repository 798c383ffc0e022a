-- An order system. Every row of users, orders and order_items belongs to one user and lives at
-- that user's home; products belong to nobody, are written in `us` and can be read everywhere.

create table users (
  id            text primary key,
  display_name  text not null check (length(display_name) between 1 and 100),
  email         text not null,
  country       text not null check (country ~ '^[A-Z]{2}$'),
  created_at    timestamptz not null default now()
);

create table orders (
  id           uuid primary key default uuidv7(),
  user_id      text not null references users,
  status       text not null default 'placed' check (status in ('placed', 'paid', 'shipped', 'cancelled')),
  -- Grows with every change; a change names the version that it was made for.
  version      integer not null default 1,
  total_cents  bigint not null check (total_cents >= 0),
  placed_at    timestamptz not null default now()
);
create index orders_newest_first on orders (user_id, placed_at desc, id desc);

create table order_items (
  order_id    uuid not null references orders on delete cascade,
  line        integer not null,
  user_id     text not null references users,
  -- A copy of the product as it was sold: the catalogue may change, an order may not.
  product_id  text not null,
  name        text not null,
  unit_cents  integer not null check (unit_cents >= 0),
  quantity    integer not null check (quantity between 1 and 1000),
  primary key (order_id, line)
);

create table products (
  id          text primary key,
  name        text not null,
  unit_cents  integer not null check (unit_cents >= 0)
);

insert into products (id, name, unit_cents)
select * from (values
  ('lamp-brass', 'Brass desk lamp', 8900),
  ('kettle-steel', 'Steel kettle', 4200),
  ('chair-oak', 'Oak chair', 15900),
  ('notebook-a5', 'Notebook, A5', 750),
  ('teapot-iron', 'Cast iron teapot', 6400),
  ('blanket-wool', 'Wool blanket', 11200),
  ('apron-linen', 'Linen apron', 3600),
  ('basket-willow', 'Willow basket', 2900),
  ('blotter-leather', 'Leather desk blotter', 7400),
  ('board-walnut', 'Walnut cutting board', 5200),
  ('bowl-stoneware', 'Stoneware bowl', 2400),
  ('broom-birch', 'Birch broom', 1900),
  ('candle-beeswax', 'Beeswax candle', 1250),
  ('clock-wall', 'Wall clock', 6900),
  ('cup-enamel', 'Enamel cup', 1100),
  ('cushion-cotton', 'Cotton cushion', 2800),
  ('doormat-coir', 'Coir doormat', 2200),
  ('grinder-coffee', 'Hand coffee grinder', 4800),
  ('hook-brass', 'Brass coat hook', 1400),
  ('jar-glass', 'Glass storage jar', 900),
  ('knife-kitchen', 'Kitchen knife', 5600),
  ('ladder-ash', 'Ash step ladder', 13500),
  ('pan-copper', 'Copper saucepan', 9800),
  ('pen-fountain', 'Fountain pen', 3900),
  ('pencil-set', 'Pencils, set of twelve', 650),
  ('rug-jute', 'Jute rug', 12400),
  ('shelf-pine', 'Pine shelf', 7900),
  ('stool-beech', 'Beech stool', 6100),
  ('towel-bath', 'Bath towel', 2600),
  ('vase-clay', 'Clay vase', 3300)
) as product (id, name, unit_cents)
where domicile.here() = 'us';
