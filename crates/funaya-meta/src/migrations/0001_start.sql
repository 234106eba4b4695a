-- Common subset of SQLite and PostgreSQL. {bytes}, {c} and {keyed} are filled in by dialect.
-- Times: microseconds since the epoch. Digests: one algorithm byte, then the raw hash.
-- deleted_at: 0 while the row lives, else when it was deleted (it can be restored until purged).

CREATE TABLE settings (
    key TEXT {c} NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE registries (
    rid BIGINT NOT NULL PRIMARY KEY,
    account TEXT {c} NOT NULL,
    region TEXT {c} NOT NULL,
    repo_count BIGINT NOT NULL,
    UNIQUE (account, region)
);

-- A deleted repository's name is freed: name becomes '!' and its id.
CREATE TABLE repositories (
    rid BIGINT NOT NULL,
    repo_id BIGINT NOT NULL,
    name TEXT {c} NOT NULL,
    created_at BIGINT NOT NULL,
    mutability TEXT NOT NULL,
    scan_on_push BIGINT NOT NULL,
    image_count BIGINT NOT NULL,
    deleted_at BIGINT NOT NULL,
    deleted_name TEXT NOT NULL,
    ver BIGINT NOT NULL,
    PRIMARY KEY (rid, repo_id),
    UNIQUE (rid, name)
) {keyed};

CREATE TABLE resource_tags (
    rid BIGINT NOT NULL,
    repo_id BIGINT NOT NULL,
    key TEXT {c} NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (rid, repo_id, key)
) {keyed};

CREATE TABLE manifests (
    rid BIGINT NOT NULL,
    repo_id BIGINT NOT NULL,
    man_id BIGINT NOT NULL,
    digest {bytes} NOT NULL,
    media_type TEXT NOT NULL,
    artifact_type TEXT,
    subject {bytes},
    manifest_bytes BIGINT NOT NULL,
    image_bytes BIGINT NOT NULL,
    pushed_at BIGINT NOT NULL,
    deleted_at BIGINT NOT NULL,
    ver BIGINT NOT NULL,
    PRIMARY KEY (rid, repo_id, man_id),
    UNIQUE (rid, repo_id, digest)
) {keyed};
CREATE INDEX manifests_by_push ON manifests (rid, repo_id, deleted_at, pushed_at, man_id);
CREATE INDEX manifests_by_subject ON manifests (rid, repo_id, subject, man_id) WHERE subject IS NOT NULL;

CREATE TABLE manifest_bodies (
    rid BIGINT NOT NULL,
    repo_id BIGINT NOT NULL,
    man_id BIGINT NOT NULL,
    body {bytes} NOT NULL,
    PRIMARY KEY (rid, repo_id, man_id)
);

CREATE TABLE manifest_children (
    rid BIGINT NOT NULL,
    repo_id BIGINT NOT NULL,
    child_id BIGINT NOT NULL,
    parent_id BIGINT NOT NULL,
    PRIMARY KEY (rid, repo_id, child_id, parent_id)
) {keyed};
CREATE INDEX manifest_children_by_parent ON manifest_children (rid, repo_id, parent_id);

CREATE TABLE manifest_blobs (
    rid BIGINT NOT NULL,
    repo_id BIGINT NOT NULL,
    blob_id BIGINT NOT NULL,
    man_id BIGINT NOT NULL,
    PRIMARY KEY (rid, repo_id, blob_id, man_id)
) {keyed};
CREATE INDEX manifest_blobs_by_manifest ON manifest_blobs (rid, repo_id, man_id);

CREATE TABLE tags (
    rid BIGINT NOT NULL,
    repo_id BIGINT NOT NULL,
    tag TEXT {c} NOT NULL,
    man_id BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    ver BIGINT NOT NULL,
    PRIMARY KEY (rid, repo_id, tag)
) {keyed};
CREATE INDEX tags_by_manifest ON tags (rid, repo_id, man_id);

-- What each tag named from when on; man_id 0: the tag was deleted.
CREATE TABLE tag_history (
    rid BIGINT NOT NULL,
    repo_id BIGINT NOT NULL,
    tag TEXT {c} NOT NULL,
    at BIGINT NOT NULL,
    man_id BIGINT NOT NULL,
    PRIMARY KEY (rid, repo_id, tag, at, man_id)
) {keyed};

CREATE TABLE blobs (
    rid BIGINT NOT NULL,
    blob_id BIGINT NOT NULL,
    dom_id BIGINT NOT NULL,
    digest {bytes} NOT NULL,
    size BIGINT NOT NULL,
    storage_key TEXT {c} NOT NULL,
    wrapped_key {bytes} NOT NULL,
    keep_until BIGINT NOT NULL,
    PRIMARY KEY (rid, blob_id),
    UNIQUE (rid, dom_id, digest),
    UNIQUE (storage_key)
) {keyed};

CREATE TABLE repo_blobs (
    rid BIGINT NOT NULL,
    repo_id BIGINT NOT NULL,
    digest {bytes} NOT NULL,
    blob_id BIGINT NOT NULL,
    size BIGINT NOT NULL,
    media_type TEXT,
    keep_until BIGINT NOT NULL,
    deleted_at BIGINT NOT NULL,
    PRIMARY KEY (rid, repo_id, digest)
) {keyed};
CREATE INDEX repo_blobs_by_blob ON repo_blobs (rid, blob_id, repo_id);

CREATE TABLE uploads (
    rid BIGINT NOT NULL,
    upload_id TEXT {c} NOT NULL,
    repo_id BIGINT NOT NULL,
    storage_key TEXT {c} NOT NULL,
    algorithm BIGINT NOT NULL,
    received BIGINT NOT NULL,
    hash_state {bytes} NOT NULL,
    wrapped_key {bytes} NOT NULL,
    tail {bytes} NOT NULL,
    parts BIGINT NOT NULL,
    last_part_short BIGINT NOT NULL,
    part_too_short BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ver BIGINT NOT NULL,
    PRIMARY KEY (rid, upload_id),
    UNIQUE (storage_key)
);
CREATE INDEX uploads_by_expiry ON uploads (expires_at);
CREATE INDEX uploads_by_repository ON uploads (rid, repo_id);

CREATE TABLE trash (
    storage_key TEXT {c} NOT NULL PRIMARY KEY,
    rid BIGINT NOT NULL,
    delete_after BIGINT NOT NULL
);
CREATE INDEX trash_by_time ON trash (delete_after);

-- Queues of the collector: what to look at, and when.
CREATE TABLE gc_links (
    rid BIGINT NOT NULL,
    repo_id BIGINT NOT NULL,
    digest {bytes} NOT NULL,
    review_after BIGINT NOT NULL,
    PRIMARY KEY (rid, repo_id, digest)
) {keyed};
CREATE INDEX gc_links_by_time ON gc_links (review_after);

CREATE TABLE gc_blobs (
    rid BIGINT NOT NULL,
    blob_id BIGINT NOT NULL,
    review_after BIGINT NOT NULL,
    PRIMARY KEY (rid, blob_id)
) {keyed};
CREATE INDEX gc_blobs_by_time ON gc_blobs (review_after);

-- Deleted images (man_id > 0) and repositories (man_id 0), until they are purged.
CREATE TABLE tombstones (
    rid BIGINT NOT NULL,
    repo_id BIGINT NOT NULL,
    man_id BIGINT NOT NULL,
    deleted_at BIGINT NOT NULL,
    purge_at BIGINT NOT NULL,
    PRIMARY KEY (rid, repo_id, man_id, deleted_at)
) {keyed};
CREATE INDEX tombstones_by_time ON tombstones (purge_at);

-- Batches of audit records of one registry; at, id: those of the first record.
CREATE TABLE audit (
    at BIGINT NOT NULL,
    id TEXT {c} NOT NULL,
    rid BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (at, id)
);
CREATE INDEX audit_by_registry ON audit (rid, at, id);
