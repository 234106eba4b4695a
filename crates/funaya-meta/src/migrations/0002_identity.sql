-- Identities, and the policies of resources.

ALTER TABLE repositories ADD COLUMN policy TEXT;
ALTER TABLE registries ADD COLUMN policy TEXT;

-- id: unique among all accounts and never used again.
CREATE TABLE entities (
    account TEXT {c} NOT NULL,
    kind TEXT {c} NOT NULL,
    key TEXT {c} NOT NULL,
    id TEXT {c} NOT NULL,
    path TEXT {c} NOT NULL,
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    ver BIGINT NOT NULL,
    PRIMARY KEY (account, kind, key),
    UNIQUE (id)
) {keyed};

-- relation: who has what; see the port for the pairs.
CREATE TABLE entity_links (
    account TEXT {c} NOT NULL,
    relation TEXT {c} NOT NULL,
    from_id TEXT {c} NOT NULL,
    to_id TEXT {c} NOT NULL,
    PRIMARY KEY (account, relation, from_id, to_id)
) {keyed};
CREATE INDEX entity_links_by_target ON entity_links (account, relation, to_id, from_id);

-- When an access key or role was last used.
CREATE TABLE last_uses (
    id TEXT {c} NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    region TEXT NOT NULL,
    service TEXT NOT NULL
);

-- One row: counts changes of anything that matters for access.
CREATE TABLE access_epoch (
    one BIGINT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO access_epoch (one, value) VALUES (1, 1);
