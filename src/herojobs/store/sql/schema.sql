-- key = queue << 32 | the job's id; times are unix milliseconds; tags stand as ,one,two,
CREATE TABLE IF NOT EXISTS queue (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    circle TEXT NOT NULL,
    topic TEXT NOT NULL,
    generation INTEGER NOT NULL,
    position INTEGER NOT NULL DEFAULT 0,       -- location in OurDB up to which table job is right
    text_generation INTEGER NOT NULL DEFAULT 0,
    text_position INTEGER NOT NULL DEFAULT 0   -- the same of table words, which only text searches need
);

CREATE TABLE IF NOT EXISTS job (
    key INTEGER PRIMARY KEY,
    queue INTEGER NOT NULL,
    status TEXT NOT NULL,
    kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    created INTEGER NOT NULL,
    tags TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS job_by_time ON job (created);
CREATE INDEX IF NOT EXISTS job_by_status ON job (queue, status);

CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (params, result, error);
