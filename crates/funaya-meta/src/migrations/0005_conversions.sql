-- Manifests made for clients that do not understand the stored one. A row goes with its image.
CREATE TABLE conversions (
    rid BIGINT NOT NULL,
    repo_id BIGINT NOT NULL,
    man_id BIGINT NOT NULL,
    media_type TEXT {c} NOT NULL,
    -- Schema 1 names its tag; '' in other formats.
    tag TEXT {c} NOT NULL,
    digest {bytes} NOT NULL,
    body {bytes} NOT NULL,
    PRIMARY KEY (rid, repo_id, man_id, media_type, tag)
);
CREATE INDEX conversions_by_digest ON conversions (rid, repo_id, digest);
