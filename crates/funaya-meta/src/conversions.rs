//! Manifests made for clients that do not understand the stored ones (MAN-11, MAN-17).

use funaya_ports::meta::{Conversion, ConversionKey, Image, Result};
use funaya_types::{Digest, RepositoryName};

use crate::{
    driver::{Tx, odd},
    images, repositories,
};

pub(crate) mod sql {
    crate::driver::statements! {
        GET = "SELECT c.digest, c.body FROM repositories r
            JOIN conversions c ON c.rid = r.rid AND c.repo_id = r.repo_id
            WHERE r.rid = $1 AND r.name = $2 AND c.man_id = $3 AND c.media_type = $4 AND c.tag = $5";
        BY_DIGEST = "SELECT m.man_id, m.digest, m.media_type, m.artifact_type, m.subject, m.manifest_bytes, m.image_bytes,
                m.pushed_at, m.pulled_at, c.media_type, c.tag, c.body
            FROM repositories r
            JOIN conversions c ON c.rid = r.rid AND c.repo_id = r.repo_id
            JOIN manifests m ON m.rid = c.rid AND m.repo_id = c.repo_id AND m.man_id = c.man_id AND m.deleted_at = 0
            WHERE r.rid = $1 AND r.name = $2 AND c.digest = $3 LIMIT 1";
        PUT = "INSERT INTO conversions (rid, repo_id, man_id, media_type, tag, digest, body)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            ON CONFLICT (rid, repo_id, man_id, media_type, tag)
                DO UPDATE SET digest = excluded.digest, body = excluded.body";
        DROP_OF_IMAGE = "DELETE FROM conversions WHERE rid = $1 AND repo_id = $2 AND man_id = $3";
    }
}

/// Names a repository and a conversion in it.
pub(crate) type At<K> = (i64, RepositoryName, K);

pub(crate) async fn get(tx: &mut Tx, (rid, name, key): &At<ConversionKey>) -> Result<Option<Conversion>> {
    let tag = key.tag.as_ref().map_or("", |tag| tag.as_str());
    let args = [(*rid).into(), name.as_str().into(), key.image.into(), key.media_type.as_str().into(), tag.into()];
    let Some(row) = tx.one(&sql::GET, &args).await? else { return Ok(None) };
    let digest = Digest::from_bytes(&row.bytes(0)?).map_err(|_| odd(0))?;
    Ok(Some(Conversion { key: key.clone(), digest, body: row.bytes(1)? }))
}

/// With the image that it was made of.
pub(crate) async fn by_digest(tx: &mut Tx, (rid, name, digest): &At<Digest>) -> Result<Option<(Image, Conversion)>> {
    let raw = digest.to_bytes();
    let args = [(*rid).into(), name.as_str().into(), raw.as_slice().into()];
    let Some(row) = tx.one(&sql::BY_DIGEST, &args).await? else { return Ok(None) };
    let image = images::read(&row)?;
    let tag = Some(row.text(10)?).filter(|tag| !tag.is_empty());
    let tag = tag.map(|tag| tag.parse().map_err(|_| odd(10))).transpose()?;
    let key = ConversionKey { image: image.row_id, media_type: row.parsed(9)?, tag };
    Ok(Some((image, Conversion { key, digest: *digest, body: row.bytes(11)? })))
}

/// False if an image is gone that one of them was made of.
pub(crate) async fn put(tx: &mut Tx, (rid, name, all): &At<Vec<Conversion>>) -> Result<bool> {
    // First the repository's row, then the images', as a push does.
    let repo_id = repositories::lock(tx, *rid, name).await?.repo_id;
    for Conversion { key, digest, body } in all {
        if !images::lock(tx, *rid, repo_id, key.image).await? {
            return Ok(false);
        }
        let tag = key.tag.as_ref().map_or("", |tag| tag.as_str());
        let digest = digest.to_bytes();
        let names = [(*rid).into(), repo_id.into(), key.image.into(), key.media_type.as_str().into(), tag.into()];
        let [rid, repo_id, image, media_type, tag] = names;
        let args = [rid, repo_id, image, media_type, tag, digest.as_slice().into(), body.as_slice().into()];
        tx.exec(&sql::PUT, &args).await?;
    }
    Ok(true)
}
