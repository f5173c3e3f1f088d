-- Sessions of a home. Secrets are kept as SHA-256 only. Times are unix milliseconds.
CREATE TABLE IF NOT EXISTS meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    book TEXT NOT NULL,  -- tells this home's sessions in Redis from those of others
    generation INTEGER NOT NULL  -- each change counts it up
);
CREATE TABLE IF NOT EXISTS session (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    circles TEXT NOT NULL,  -- JSON list of fixed names; ["*"] = all
    role INTEGER NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,  -- 0 = never
    revoked INTEGER NOT NULL DEFAULT 0,  -- 0 = it holds
    login INTEGER NOT NULL  -- 1 = of a login link
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS key (
    hash BLOB PRIMARY KEY,
    session TEXT NOT NULL,
    expires INTEGER NOT NULL DEFAULT 0  -- of a key that was rotated away; 0 = as its session
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS login (hash BLOB PRIMARY KEY, expires INTEGER NOT NULL) WITHOUT ROWID;
