-- key = queue << 32 | the job's id; times are unix milliseconds.
CREATE TABLE queue (
    id INTEGER PRIMARY KEY,
    circle TEXT NOT NULL,
    topic TEXT NOT NULL,
    UNIQUE (circle, topic)
);

-- Up to which version of a queue a table is right.
CREATE TABLE mark (
    queue INTEGER NOT NULL,
    part TEXT NOT NULL,             -- job or words
    generation INTEGER NOT NULL,    -- of the database; a location means nothing in another one
    location INTEGER NOT NULL,      -- behind the last version taken in
    sweep INTEGER NOT NULL,         -- 1 = jobs that exist no more may be in the table
    seen BLOB NOT NULL,             -- what the database's files looked like when all of it was taken in, else empty
    PRIMARY KEY (queue, part)
) WITHOUT ROWID;

CREATE TABLE job (
    key INTEGER PRIMARY KEY,
    queue INTEGER NOT NULL,
    created INTEGER NOT NULL,
    status TEXT NOT NULL,
    kind TEXT NOT NULL,
    reason TEXT NOT NULL
);
CREATE INDEX job_by_time ON job (created);
CREATE INDEX job_of_queue ON job (queue, created);
-- Most jobs are done, so what looks for others has indexes without these: small, and nothing to keep for most writes.
CREATE INDEX job_not_done ON job (status, created) WHERE status <> 'done';
CREATE INDEX job_of_queue_not_done ON job (queue, status, created) WHERE status <> 'done';

-- How many jobs a queue has in each status, so that counting doesn't read them.
CREATE TABLE tally (
    queue INTEGER NOT NULL,
    status TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (queue, status)
) WITHOUT ROWID;
CREATE TRIGGER job_comes AFTER INSERT ON job BEGIN
    INSERT INTO tally VALUES (new.queue, new.status, 1) ON CONFLICT DO UPDATE SET count = count + 1;
END;
CREATE TRIGGER job_goes AFTER DELETE ON job BEGIN
    UPDATE tally SET count = count - 1 WHERE queue = old.queue AND status = old.status;
END;
CREATE TRIGGER job_changes AFTER UPDATE OF status ON job WHEN old.status <> new.status BEGIN
    UPDATE tally SET count = count - 1 WHERE queue = old.queue AND status = old.status;
    INSERT INTO tally VALUES (new.queue, new.status, 1) ON CONFLICT DO UPDATE SET count = count + 1;
END;

-- A tag that a job has lost may stay: what is found is looked at again.
CREATE TABLE tag (
    tag TEXT NOT NULL,
    key INTEGER NOT NULL,
    PRIMARY KEY (tag, key)
) WITHOUT ROWID;
CREATE INDEX tag_of_job ON tag (key);

CREATE VIRTUAL TABLE words USING fts5 (params, result, error);
