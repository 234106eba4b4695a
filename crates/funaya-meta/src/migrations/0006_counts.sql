-- Filters by tag that do not scan, principals whose pulls are not noted, and the servers on this database.

-- Of a deleted image: -1.
ALTER TABLE manifests ADD COLUMN tag_count BIGINT NOT NULL DEFAULT 0;
UPDATE manifests SET tag_count = CASE WHEN deleted_at <> 0 THEN -1 ELSE (SELECT count(*) FROM tags t
    WHERE t.rid = manifests.rid AND t.repo_id = manifests.repo_id AND t.man_id = manifests.man_id) END;
CREATE INDEX manifests_tagged ON manifests (rid, repo_id, pushed_at, man_id) WHERE tag_count > 0;
CREATE INDEX manifests_untagged ON manifests (rid, repo_id, pushed_at, man_id) WHERE tag_count = 0;

CREATE TABLE pull_exclusions (
    rid BIGINT NOT NULL,
    principal TEXT {c} NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (rid, principal)
) {keyed};

CREATE TABLE replicas (
    id TEXT {c} NOT NULL PRIMARY KEY,
    seen_at BIGINT NOT NULL
);
