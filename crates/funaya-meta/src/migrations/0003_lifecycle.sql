-- Lifecycle policies, last pulls, and exceptions from tag immutability.

ALTER TABLE repositories ADD COLUMN lifecycle TEXT;
-- 0: never.
ALTER TABLE repositories ADD COLUMN lifecycle_evaluated_at BIGINT NOT NULL DEFAULT 0;
CREATE INDEX repositories_by_lifecycle ON repositories (lifecycle_evaluated_at) WHERE lifecycle IS NOT NULL;

-- Tag filters, one a line.
ALTER TABLE repositories ADD COLUMN mutability_filters TEXT;

ALTER TABLE manifests ADD COLUMN pulled_at BIGINT;

-- The newest preview of each repository. marked: 8 bytes of row id and 8 of priority for each image.
CREATE TABLE lifecycle_previews (
    rid BIGINT NOT NULL,
    repo_id BIGINT NOT NULL,
    policy TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    status TEXT NOT NULL,
    marked {bytes} NOT NULL,
    PRIMARY KEY (rid, repo_id)
);
