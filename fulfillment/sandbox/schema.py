"""The schema of the ledger file, version by version: ``SCHEMAS[n]`` brings a file of version n (PRAGMA user_version) to n + 1.

Files that were written before versions were counted say 0 and have the tables of version 1 already.
"""

ONE_PROVIDER = """
CREATE TABLE IF NOT EXISTS effects (seq INTEGER PRIMARY KEY, order_number TEXT NOT NULL, operation TEXT NOT NULL, key TEXT NOT NULL,
    amount INTEGER, currency TEXT, at TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS effects_by_order ON effects (order_number);
CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, digest TEXT NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS tombstones (key TEXT PRIMARY KEY, at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS tries (subject TEXT PRIMARY KEY, count INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS charges (id TEXT PRIMARY KEY, key TEXT NOT NULL UNIQUE, order_number TEXT NOT NULL, amount INTEGER NOT NULL,
    currency TEXT NOT NULL, token TEXT NOT NULL, refunded INTEGER NOT NULL DEFAULT 0 CHECK (refunded BETWEEN 0 AND amount));
CREATE TABLE IF NOT EXISTS labels (id TEXT PRIMARY KEY, key TEXT NOT NULL UNIQUE, order_number TEXT NOT NULL, tracking TEXT NOT NULL,
    cancelled INTEGER NOT NULL DEFAULT 0);
"""

# Keys belong to a profile, and may have several charges or labels; lists are paged by seq and begin at an instant.
# What was there is the plain provider's; its instants are those of its first effects.
PROFILES = """
ALTER TABLE answers RENAME TO old_answers;
ALTER TABLE tombstones RENAME TO old_tombstones;
ALTER TABLE tries RENAME TO old_tries;
ALTER TABLE charges RENAME TO old_charges;
ALTER TABLE labels RENAME TO old_labels;

CREATE TABLE answers (profile TEXT NOT NULL, key TEXT NOT NULL, digest TEXT NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (profile, key));
CREATE TABLE tombstones (profile TEXT NOT NULL, key TEXT NOT NULL, at TEXT NOT NULL, PRIMARY KEY (profile, key));
CREATE TABLE tries (profile TEXT NOT NULL, subject TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (profile, subject));
CREATE TABLE charges (seq INTEGER PRIMARY KEY, profile TEXT NOT NULL, id TEXT NOT NULL UNIQUE, key TEXT NOT NULL, order_number TEXT NOT NULL,
    amount INTEGER NOT NULL, currency TEXT NOT NULL, token TEXT NOT NULL, at TEXT NOT NULL,
    refunded INTEGER NOT NULL DEFAULT 0 CHECK (refunded BETWEEN 0 AND amount));
CREATE TABLE labels (seq INTEGER PRIMARY KEY, profile TEXT NOT NULL, id TEXT NOT NULL UNIQUE, key TEXT NOT NULL, order_number TEXT NOT NULL,
    tracking TEXT NOT NULL, postal_code TEXT NOT NULL, at TEXT NOT NULL, cancelled INTEGER NOT NULL DEFAULT 0);

INSERT INTO answers SELECT '', key, digest, status, body FROM old_answers;
INSERT INTO tombstones SELECT '', key, at FROM old_tombstones;
INSERT INTO tries SELECT '', subject, count FROM old_tries;
INSERT INTO charges (profile, id, key, order_number, amount, currency, token, refunded, at)
    SELECT '', id, key, order_number, amount, currency, token, refunded, coalesce(
        (SELECT min(at) FROM effects e WHERE e.order_number = c.order_number AND e.key = c.key AND e.operation = 'charge'), '')
    FROM old_charges c ORDER BY rowid;
INSERT INTO labels (profile, id, key, order_number, tracking, postal_code, cancelled, at)
    SELECT '', id, key, order_number, tracking, '', cancelled, coalesce(
        (SELECT min(at) FROM effects e WHERE e.order_number = l.order_number AND e.key = l.key AND e.operation = 'label'), '')
    FROM old_labels l ORDER BY rowid;

DROP TABLE old_answers;
DROP TABLE old_tombstones;
DROP TABLE old_tries;
DROP TABLE old_charges;
DROP TABLE old_labels;

CREATE INDEX charges_by_key ON charges (profile, key);
CREATE INDEX charges_in_order ON charges (profile, seq);
CREATE INDEX charges_by_instant ON charges (profile, at);
CREATE INDEX labels_by_key ON labels (profile, key);
CREATE INDEX labels_in_order ON labels (profile, seq);
CREATE INDEX labels_by_instant ON labels (profile, at);
"""

SCHEMAS = (ONE_PROVIDER, PROFILES)
