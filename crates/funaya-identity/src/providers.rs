//! Identity providers of an account (COMP-088 to COMP-094).

use funaya_gate::{Action, Permit, Resources, action::iam};
use funaya_ports::identity::{Kind, OidcProvider, SamlProvider};
use funaya_types::{AccountId, Timestamp};
use serde_json::{Value, json};

use crate::{
    Error, Identities, Page, PageAt, Result, Tag, account, recorded,
    row::{Row, key},
    saml, tags,
};

const PROVIDERS_MAX: usize = 100;
const CLIENTS_MAX: usize = 100;
const THUMBPRINTS_MAX: usize = 5;
const URL_MAX: usize = 255;
/// Of a SHA-1.
const HEX_LETTERS: usize = 40;

/// An OpenID Connect provider.
pub type Oidc = Row<OidcProvider>;
/// A SAML provider.
pub type Saml = Row<SamlProvider>;

/// `bare`: its URL without scheme.
pub(crate) fn oidc_arn(account: AccountId, bare: &str) -> String {
    format!("arn:aws:iam::{account}:oidc-provider/{bare}")
}

fn saml_arn(account: AccountId, name: &str) -> String {
    format!("arn:aws:iam::{account}:saml-provider/{name}")
}

impl Row<OidcProvider> {
    /// Its ARN.
    pub fn arn(&self) -> String {
        oidc_arn(self.entity.place.account, &self.entity.place.key)
    }
}

impl Row<SamlProvider> {
    /// Its ARN.
    pub fn arn(&self) -> String {
        saml_arn(self.entity.place.account, &self.body.name)
    }
}

impl Identities {
    /// Makes an OpenID Connect provider. Its keys are fetched when they are needed first.
    pub async fn create_oidc(
        &self,
        permit: &Permit<iam::CreateOpenIDConnectProvider>,
        url: &str,
        client_ids: &[String],
        thumbprints: &[String],
        tags: &[Tag],
    ) -> Result<Oidc> {
        let account = account(permit);
        let bare = bare_url(url).ok_or_else(|| Error::InvalidInput("Invalid Open ID Connect Provider URL.".into()))?;
        check_thumbprints(thumbprints)?;
        if client_ids.len() > CLIENTS_MAX {
            return Err(Error::Quota { name: "ClientIdsPerOpenIdConnectProvider", max: CLIENTS_MAX });
        }
        self.change(|| async {
            let place = key(account, Kind::OidcProvider, bare);
            if self.store().entity(&place).await?.is_some() {
                return Err(Error::ProviderExists(format!("Provider with url {url} already exists.")));
            }
            self.room(account, Kind::OidcProvider, "OpenIdConnectProvidersPerAccount").await?;
            let body = OidcProvider {
                url: url.trim_end_matches('/').to_owned(),
                client_ids: client_ids.to_vec(),
                thumbprints: thumbprints.iter().map(|text| text.to_ascii_lowercase()).collect(),
                tags: tags::fresh(tags)?,
            };
            let row = Row::new(place, oidc_arn(account, bare), body, permit.now());
            let mut change = recorded(permit, json!({"openIDConnectProviderArn": row.arn()}));
            change.put.push(row.clone().put());
            Ok((change, row))
        })
        .await
    }

    /// A provider.
    pub async fn oidc(&self, permit: &Permit<iam::GetOpenIDConnectProvider>, arn: &str) -> Result<Oidc> {
        self.oidc_by_arn(account(permit), arn).await
    }

    /// All of the account.
    pub async fn all_oidc(&self, permit: &Permit<iam::ListOpenIDConnectProviders>) -> Result<Vec<Oidc>> {
        self.rows(account(permit), Kind::OidcProvider).await
    }

    /// Deletes a provider. Sessions that it made go on.
    pub async fn delete_oidc(&self, permit: &Permit<iam::DeleteOpenIDConnectProvider>, arn: &str) -> Result<()> {
        let account = account(permit);
        self.change(|| async {
            let row = self.oidc_by_arn(account, arn).await?;
            let mut change = recorded(permit, Value::Null);
            let version = row.entity.version;
            change.delete.push((row.entity, version));
            Ok((change, ()))
        })
        .await
    }

    /// Takes one audience more.
    pub async fn add_client_id(
        &self,
        permit: &Permit<iam::AddClientIDToOpenIDConnectProvider>,
        arn: &str,
        id: &str,
    ) -> Result<()> {
        self.change_oidc(permit, arn, |body| {
            if body.client_ids.iter().any(|known| known == id) {
                return Ok(());
            }
            if body.client_ids.len() >= CLIENTS_MAX {
                return Err(Error::Quota { name: "ClientIdsPerOpenIdConnectProvider", max: CLIENTS_MAX });
            }
            body.client_ids.push(id.to_owned());
            Ok(())
        })
        .await
    }

    /// Takes an audience no more.
    pub async fn remove_client_id(
        &self,
        permit: &Permit<iam::RemoveClientIDFromOpenIDConnectProvider>,
        arn: &str,
        id: &str,
    ) -> Result<()> {
        self.change_oidc(permit, arn, |body| {
            body.client_ids.retain(|known| known != id);
            Ok(())
        })
        .await
    }

    /// Sets the thumbprints, which are kept and shown; what counts is that the provider's certificate is trusted.
    pub async fn set_thumbprints(
        &self,
        permit: &Permit<iam::UpdateOpenIDConnectProviderThumbprint>,
        arn: &str,
        thumbprints: &[String],
    ) -> Result<()> {
        check_thumbprints(thumbprints)?;
        self.change_oidc(permit, arn, |body| {
            body.thumbprints = thumbprints.iter().map(|text| text.to_ascii_lowercase()).collect();
            Ok(())
        })
        .await
    }

    /// Gives labels.
    pub async fn tag_oidc(
        &self,
        permit: &Permit<iam::TagOpenIDConnectProvider>,
        arn: &str,
        tags: &[Tag],
    ) -> Result<()> {
        self.change_oidc(permit, arn, |body| {
            body.tags = tags::merged(&body.tags, tags)?;
            Ok(())
        })
        .await
    }

    /// Takes labels away.
    pub async fn untag_oidc(
        &self,
        permit: &Permit<iam::UntagOpenIDConnectProvider>,
        arn: &str,
        keys: &[String],
    ) -> Result<()> {
        self.change_oidc(permit, arn, |body| {
            body.tags = tags::without(&body.tags, keys);
            Ok(())
        })
        .await
    }

    /// The labels.
    pub async fn oidc_tags(
        &self,
        permit: &Permit<iam::ListOpenIDConnectProviderTags>,
        arn: &str,
        at: &PageAt,
    ) -> Result<Page<Tag>> {
        let row = self.oidc_by_arn(account(permit), arn).await?;
        Ok(at.of_all(row.body.tags, |(key, _)| key.clone()))
    }

    /// Makes a SAML provider.
    pub async fn create_saml(
        &self,
        permit: &Permit<iam::CreateSAMLProvider>,
        name: &str,
        metadata: &str,
        tags: &[Tag],
    ) -> Result<Saml> {
        let account = account(permit);
        let valid_until = checked_metadata(metadata)?;
        self.change(|| async {
            let place = key(account, Kind::SamlProvider, name);
            if self.store().entity(&place).await?.is_some() {
                return Err(Error::ProviderExists(format!("Provider with name {name} already exists.")));
            }
            self.room(account, Kind::SamlProvider, "SAMLProvidersPerAccount").await?;
            let (name, metadata) = (name.to_owned(), metadata.to_owned());
            let arn = saml_arn(account, &name);
            let body = SamlProvider { name, metadata, valid_until, tags: tags::fresh(tags)? };
            let row = Row::new(place, arn.clone(), body, permit.now());
            let mut change = recorded(permit, json!({"sAMLProviderArn": arn}));
            change.put.push(row.clone().put());
            Ok((change, row))
        })
        .await
    }

    /// A provider.
    pub async fn saml(&self, permit: &Permit<iam::GetSAMLProvider>, arn: &str) -> Result<Saml> {
        self.saml_by_arn(account(permit), arn).await
    }

    /// All of the account.
    pub async fn all_saml(&self, permit: &Permit<iam::ListSAMLProviders>) -> Result<Vec<Saml>> {
        self.rows(account(permit), Kind::SamlProvider).await
    }

    /// Exchanges the metadata.
    pub async fn update_saml(&self, permit: &Permit<iam::UpdateSAMLProvider>, arn: &str, metadata: &str) -> Result<()> {
        let valid_until = checked_metadata(metadata)?;
        self.change_saml(permit, arn, |body| {
            metadata.clone_into(&mut body.metadata);
            body.valid_until = valid_until;
            Ok(())
        })
        .await
    }

    /// Deletes a provider. Sessions that it made go on.
    pub async fn delete_saml(&self, permit: &Permit<iam::DeleteSAMLProvider>, arn: &str) -> Result<()> {
        let account = account(permit);
        self.change(|| async {
            let row = self.saml_by_arn(account, arn).await?;
            let mut change = recorded(permit, Value::Null);
            let version = row.entity.version;
            change.delete.push((row.entity, version));
            Ok((change, ()))
        })
        .await
    }

    /// Gives labels.
    pub async fn tag_saml(&self, permit: &Permit<iam::TagSAMLProvider>, arn: &str, tags: &[Tag]) -> Result<()> {
        self.change_saml(permit, arn, |body| {
            body.tags = tags::merged(&body.tags, tags)?;
            Ok(())
        })
        .await
    }

    /// Takes labels away.
    pub async fn untag_saml(&self, permit: &Permit<iam::UntagSAMLProvider>, arn: &str, keys: &[String]) -> Result<()> {
        self.change_saml(permit, arn, |body| {
            body.tags = tags::without(&body.tags, keys);
            Ok(())
        })
        .await
    }

    /// The labels.
    pub async fn saml_tags(
        &self,
        permit: &Permit<iam::ListSAMLProviderTags>,
        arn: &str,
        at: &PageAt,
    ) -> Result<Page<Tag>> {
        let row = self.saml_by_arn(account(permit), arn).await?;
        Ok(at.of_all(row.body.tags, |(key, _)| key.clone()))
    }

    async fn change_oidc<A: Action<Target = Resources>>(
        &self,
        permit: &Permit<A>,
        arn: &str,
        how: impl Fn(&mut OidcProvider) -> Result<()> + Sync,
    ) -> Result<()> {
        self.change(|| async {
            let mut row = self.oidc_by_arn(account(permit), arn).await?;
            how(&mut row.body)?;
            let mut change = recorded(permit, Value::Null);
            change.put.push(row.put());
            Ok((change, ()))
        })
        .await
    }

    async fn change_saml<A: Action<Target = Resources>>(
        &self,
        permit: &Permit<A>,
        arn: &str,
        how: impl Fn(&mut SamlProvider) -> Result<()> + Sync,
    ) -> Result<()> {
        self.change(|| async {
            let mut row = self.saml_by_arn(account(permit), arn).await?;
            how(&mut row.body)?;
            let mut change = recorded(permit, Value::Null);
            change.put.push(row.put());
            Ok((change, ()))
        })
        .await
    }

    pub(crate) async fn oidc_by_arn(&self, account: AccountId, arn: &str) -> Result<Oidc> {
        let missing = || Error::NoProvider(format!("OpenIDConnect Provider not found for arn {arn}"));
        let bare = arn.strip_prefix(&oidc_arn(account, "")).ok_or_else(missing)?;
        self.row(&key(account, Kind::OidcProvider, bare)).await?.ok_or_else(missing)
    }

    pub(crate) async fn saml_by_arn(&self, account: AccountId, arn: &str) -> Result<Saml> {
        let missing = || Error::NoProvider(format!("Manifest not found for arn {arn}"));
        let name = arn.strip_prefix(&saml_arn(account, "")).ok_or_else(missing)?;
        self.row(&key(account, Kind::SamlProvider, name)).await?.ok_or_else(missing)
    }

    async fn room(&self, account: AccountId, kind: Kind, name: &'static str) -> Result<()> {
        match usize::try_from(self.store().entity_count(&account, kind).await?) {
            Ok(count) if count < PROVIDERS_MAX => Ok(()),
            _ => Err(Error::Quota { name, max: PROVIDERS_MAX }),
        }
    }
}

fn checked_metadata(metadata: &str) -> Result<Option<Timestamp>> {
    saml::metadata(metadata).map(|found| found.valid_until).map_err(|text| Error::InvalidInput(text.into()))
}

/// A URL without scheme. HTTPS only, but for providers on this machine, which the workshop refuses unless it is told
/// to take them.
fn bare_url(url: &str) -> Option<&str> {
    let (scheme, bare) = url.split_once("://")?;
    let bare = bare.trim_end_matches('/');
    let host = bare.split(['/', ':']).next()?;
    let local = matches!(host, "localhost" | "127.0.0.1");
    let fits = url.len() <= URL_MAX
        && (scheme == "https" || (scheme == "http" && local))
        && !host.is_empty()
        && bare.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~/:%".contains(&b))
        && host.bytes().all(|b| !b.is_ascii_uppercase());
    fits.then_some(bare)
}

fn check_thumbprints(thumbprints: &[String]) -> Result<()> {
    if thumbprints.len() > THUMBPRINTS_MAX {
        return Err(Error::InvalidInput("Thumbprint list must contain fewer than 5 entries.".into()));
    }
    let is_hex = |text: &String| text.len() == HEX_LETTERS && text.bytes().all(|b| b.is_ascii_hexdigit());
    match thumbprints.iter().all(is_hex) {
        true => Ok(()),
        false => Err(Error::InvalidInput("A thumbprint must be 40 hexadecimal digits.".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        assert_eq!(
            bare_url("https://token.actions.githubusercontent.com"),
            Some("token.actions.githubusercontent.com")
        );
        assert_eq!(
            bare_url("https://oidc.eks.us-east-1.amazonaws.com/id/ABC/"),
            Some("oidc.eks.us-east-1.amazonaws.com/id/ABC")
        );
        assert_eq!(bare_url("http://localhost:8000/x"), Some("localhost:8000/x"));
        for bad in [
            "",
            "token.example.com",
            "http://token.example.com",
            "https://",
            "https:///x",
            "ftp://a/",
            "https://a/?b=c",
            "https://a/#b",
            "https://u@a/",
            "https://A.example.com",
            "https://a b/",
        ] {
            assert_eq!(bare_url(bad), None, "{bad}");
        }
    }
}
