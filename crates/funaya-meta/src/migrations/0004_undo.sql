-- Which tags went with an image.
CREATE INDEX tag_history_by_time ON tag_history (rid, repo_id, at, tag);
-- What was deleted in a registry, newest first.
CREATE INDEX tombstones_by_deletion ON tombstones (rid, deleted_at, repo_id, man_id);
