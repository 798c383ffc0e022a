-- The tables of every region. Each row belongs to one user and lives at that user's home.
create table users (
  id text primary key
);

create table notes (
  id       uuid primary key default uuidv7(),
  user_id  text not null references users,
  text     text not null
);
