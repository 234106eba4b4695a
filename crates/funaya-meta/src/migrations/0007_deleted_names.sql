-- Deleted repositories by the name they had, newest first.
CREATE INDEX repositories_by_deleted_name ON repositories (rid, deleted_name, deleted_at) WHERE deleted_at <> 0;
