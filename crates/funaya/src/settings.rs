//! Settings: raw options from flags, environment and file, then resolved ones.
//!
//! A flag wins over the environment, the environment over the file. Each
//! setting has one name in all three: `--tls-cert`, `FUNAYA_TLS_CERT`, `tls-cert`.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use clap::Args;
use funaya_gate::Regions;
use funaya_oci::Redirect;
use funaya_ports::meta::Spans;
use funaya_rules::{
    quotas::{Own, Quotas},
    throttle::Rate,
};
use funaya_types::{AccountId, Region, Wildcard};
use serde::Deserialize;

use crate::proxies::Network;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Settings as they were given.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Options {
    /// File of settings (TOML)
    #[arg(long, env = "FUNAYA_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    config: Option<String>,
    /// Folder of the database, the blobs and the root key
    #[arg(long, env = "FUNAYA_DATA", value_name = "DIR")]
    data: Option<String>,
    /// Address to listen on; may be given more than once; port 0 picks one
    #[arg(long, env = "FUNAYA_LISTEN", value_name = "ADDR", value_delimiter = ',')]
    #[serde(deserialize_with = "one_or_more")]
    listen: Option<Vec<String>>,
    /// Certificate chain (PEM); with --tls-key turns TLS on
    #[arg(long, env = "FUNAYA_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<String>,
    /// Private key of the certificate (PEM)
    #[arg(long, env = "FUNAYA_TLS_KEY", value_name = "FILE")]
    tls_key: Option<String>,
    /// Default account: 12 digits
    #[arg(long, env = "FUNAYA_ACCOUNT")]
    account: Option<String>,
    /// Default Region
    #[arg(long, env = "FUNAYA_REGION")]
    region: Option<String>,
    /// Regions served besides the default one, separated by commas; `*`: any
    #[arg(long, env = "FUNAYA_REGIONS", value_delimiter = ',')]
    #[serde(deserialize_with = "one_or_more")]
    regions: Option<Vec<String>>,
    /// Host suffix, such as amazonaws.com
    #[arg(long, env = "FUNAYA_SUFFIX")]
    suffix: Option<String>,
    /// What clients call the server by
    #[arg(long, env = "FUNAYA_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    /// The root's access key id
    #[arg(long, env = "FUNAYA_ROOT_ACCESS_KEY_ID", hide_env_values = true)]
    root_access_key_id: Option<String>,
    /// The root's secret access key
    #[arg(long, env = "FUNAYA_ROOT_SECRET_ACCESS_KEY", hide_env_values = true)]
    root_secret_access_key: Option<String>,
    /// postgres://… instead of SQLite in the data folder
    #[arg(long, env = "FUNAYA_DATABASE", value_name = "URL", hide_env_values = true)]
    database: Option<String>,
    /// s3://bucket/prefix instead of the data folder
    #[arg(long, env = "FUNAYA_BLOBS", value_name = "URL")]
    blobs: Option<String>,
    /// Repositories that a push may create, separated by commas: team/*
    #[arg(long, env = "FUNAYA_CREATE_ON_PUSH", value_delimiter = ',')]
    #[serde(deserialize_with = "one_or_more")]
    create_on_push: Option<Vec<String>>,
    /// auto, always or never
    #[arg(long, env = "FUNAYA_BLOB_REDIRECT")]
    blob_redirect: Option<String>,
    /// File of the 32-byte key that seals all others
    #[arg(long, env = "FUNAYA_ROOT_KEY_FILE", value_name = "FILE")]
    root_key_file: Option<String>,
    /// ecr or off
    #[arg(long, env = "FUNAYA_RATE_QUOTAS")]
    rate_quotas: Option<String>,
    /// Log filter: a level, then target=level, separated by commas
    #[arg(long, env = "FUNAYA_LOG")]
    log: Option<String>,
    /// text or json
    #[arg(long, env = "FUNAYA_LOG_FORMAT")]
    log_format: Option<String>,
    /// How often the collector runs, e.g. 60s
    #[arg(long, env = "FUNAYA_GC_INTERVAL")]
    gc_interval: Option<String>,
    /// How long a layer that nothing refers to is kept, e.g. 24h
    #[arg(long, env = "FUNAYA_GC_GRACE")]
    gc_grace: Option<String>,
    /// How long bytes outlive their row, e.g. 26h
    #[arg(long, env = "FUNAYA_GC_TRASH")]
    gc_trash: Option<String>,
    /// How long what was deleted can be restored, e.g. 7d; 0s: not at all
    #[arg(long, env = "FUNAYA_UNDO_WINDOW")]
    undo_window: Option<String>,
    /// How often each lifecycle policy is evaluated, e.g. 24h
    #[arg(long, env = "FUNAYA_LIFECYCLE_INTERVAL")]
    lifecycle_interval: Option<String>,
    /// Most images of a repository: ECR's adjustable quota, 10000
    #[arg(long, env = "FUNAYA_IMAGES_PER_REPOSITORY", value_name = "N")]
    images_per_repository: Option<String>,
    /// Most repositories of an account in a Region: ECR's adjustable quota, 10000
    #[arg(long, env = "FUNAYA_REPOSITORIES_PER_REGISTRY", value_name = "N")]
    repositories_per_registry: Option<String>,
    /// How often everything stored is read and checked in the background, e.g. 7d; 0s: not at all
    #[arg(long, env = "FUNAYA_SCRUB_INTERVAL")]
    scrub_interval: Option<String>,
    /// How fast, in MiB a second
    #[arg(long, env = "FUNAYA_SCRUB_RATE", value_name = "N")]
    scrub_rate: Option<String>,
    /// Rates of operations for all accounts; in the file only
    #[arg(skip)]
    rates: Option<BTreeMap<String, OwnRate>>,
    /// Quotas of single accounts; in the file only
    #[arg(skip)]
    accounts: Option<BTreeMap<String, OwnQuotas>>,
    /// Proxies whose X-Forwarded-For and X-Forwarded-Proto are believed: addresses or networks, separated by commas
    #[arg(long, env = "FUNAYA_TRUSTED_PROXIES", value_delimiter = ',')]
    #[serde(deserialize_with = "one_or_more")]
    trusted_proxies: Option<Vec<String>>,
    /// Files with the keys of identity providers, separated by commas: ISSUER=FILE, or a folder; then none is called
    #[arg(long, env = "FUNAYA_OIDC_JWKS", value_delimiter = ',', value_name = "ISSUER=FILE")]
    #[serde(deserialize_with = "one_or_more")]
    oidc_jwks: Option<Vec<String>>,
    /// Lets identity providers be on this machine, without TLS too; for tests
    #[arg(long, env = "FUNAYA_OIDC_LOOPBACK", hide = true)]
    oidc_loopback: Option<String>,
    /// Lets tests move time; loopback listeners only
    #[arg(long, env = "FUNAYA_TEST_CLOCK", hide = true)]
    test_clock: Option<String>,
}

/// Settings that hold together.
pub(crate) struct Settings {
    pub(crate) data: PathBuf,
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    pub(crate) account: Option<AccountId>,
    pub(crate) region: Region,
    pub(crate) regions: Regions,
    pub(crate) suffix: Option<String>,
    pub(crate) public_url: Option<String>,
    pub(crate) root_access_key: Option<(String, String)>,
    pub(crate) database: Option<String>,
    pub(crate) create_on_push: Vec<Wildcard>,
    pub(crate) redirect: Redirect,
    pub(crate) root_key_file: Option<PathBuf>,
    pub(crate) throttled: bool,
    pub(crate) log: String,
    pub(crate) log_json: bool,
    pub(crate) gc_interval: Duration,
    pub(crate) lifecycle_interval: Duration,
    pub(crate) spans: Spans,
    pub(crate) quotas: Arc<Quotas>,
    pub(crate) scrub: Scrub,
    pub(crate) trusted_proxies: Vec<Network>,
    pub(crate) oidc_jwks: Vec<String>,
    pub(crate) oidc_loopback: bool,
    pub(crate) test_clock: bool,
}

/// Reading everything again in the background (D13).
#[derive(Clone, Copy)]
pub(crate) struct Scrub {
    /// Zero: not at all.
    pub(crate) every: Duration,
    pub(crate) bytes_per_second: f64,
}

/// Quotas of an account, as the file has them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct OwnQuotas {
    repositories_per_registry: Option<u32>,
    images_per_repository: Option<u32>,
    rates: BTreeMap<String, OwnRate>,
}

/// Calls a second, or with a burst of its own.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
enum OwnRate {
    Even(u32),
    #[serde(rename_all = "kebab-case")]
    Burst {
        burst: u32,
        per_second: u32,
    },
}

impl OwnQuotas {
    fn resolve(self) -> Result<Own, BadSetting> {
        let mut rates = BTreeMap::new();
        for (operation, rate) in self.rates {
            if !funaya_aws::is_operation(&operation) {
                return Err(bad(format!("`rates`: `{operation}` is not an operation such as PutImage")));
            }
            let rate = match rate {
                OwnRate::Even(per_second) => Rate { burst: per_second, per_second },
                OwnRate::Burst { burst, per_second } => Rate { burst, per_second },
            };
            if rate.burst == 0 {
                return Err(bad(format!("`rates`: `{operation}` must let a call through")));
            }
            rates.insert(operation, rate);
        }
        let count = |set: Option<u32>| set.map(i64::from);
        Ok(Own {
            repositories: count(self.repositories_per_registry),
            images: count(self.images_per_repository),
            rates,
        })
    }
}

/// A setting that can't be used. `Display` is one sentence for the operator.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadSetting(String);

fn bad(text: impl Into<String>) -> BadSetting {
    BadSetting(text.into())
}

macro_rules! fill {
    ($into:ident from $from:ident: $($field:ident),* $(,)?) => {
        $(if $into.$field.is_none() { $into.$field = $from.$field; })*
    };
}

impl Options {
    /// Adds what the file says, and checks everything.
    pub(crate) fn resolve(mut self) -> Result<Settings, BadSetting> {
        self.drop_empty();
        if let Some(path) = &self.config {
            let text = std::fs::read_to_string(path)
                .map_err(|error| bad(format!("the settings file `{path}` can't be read: {error}")))?;
            let mut file: Self = toml::from_str(&text).map_err(|error| {
                let why = error.to_string().replace('\n', " ");
                bad(format!("the settings file `{path}` is not valid: {}", why.trim()))
            })?;
            file.drop_empty();
            fill!(self from file: data, listen, tls_cert, tls_key, account, region, regions, suffix, public_url,
                root_access_key_id, root_secret_access_key, database, blobs, create_on_push, blob_redirect,
                root_key_file, rate_quotas, log, log_format, gc_interval, gc_grace, gc_trash, undo_window,
                lifecycle_interval, images_per_repository, repositories_per_registry, scrub_interval, scrub_rate,
                rates, accounts, trusted_proxies,
                oidc_jwks, oidc_loopback, test_clock);
        }
        let spans = self.spans()?;
        let settings = Settings {
            listen: self.addresses()?,
            tls: self.tls()?,
            region: self.region()?,
            regions: self.regions()?,
            root_access_key: self.root_access_key()?,
            redirect: self.redirect()?,
            throttled: choice("rate-quotas", self.rate_quotas.as_deref(), "ecr", &["ecr", "off"])? == "ecr",
            log_json: choice("log-format", self.log_format.as_deref(), "text", &["text", "json"])? == "json",
            gc_interval: duration("gc-interval", self.gc_interval.as_deref(), Duration::from_secs(60))?,
            lifecycle_interval: duration("lifecycle-interval", self.lifecycle_interval.as_deref(), DAY)?,
            test_clock: matches!(self.test_clock.as_deref(), Some("1" | "true")),
            oidc_loopback: matches!(self.oidc_loopback.as_deref(), Some("1" | "true")),
            oidc_jwks: self.oidc_jwks.clone().unwrap_or_default(),
            spans,
            trusted_proxies: self.trusted_proxies()?,
            quotas: Arc::new(self.quotas()?),
            scrub: self.scrub()?,
            account: parsed("account", self.account.as_deref())?,
            data: self.data.map_or_else(|| PathBuf::from("./funaya-data"), PathBuf::from),
            suffix: self.suffix,
            public_url: self.public_url.map(|url| url.trim_end_matches('/').to_owned()),
            database: database(self.database)?,
            create_on_push: self.create_on_push.unwrap_or_default().into_iter().map(Wildcard::new).collect(),
            root_key_file: self.root_key_file.map(PathBuf::from),
            log: log_filter(self.log)?,
        };
        if self.blobs.is_some() {
            return Err(bad("`blobs`: only the data folder can hold blobs in this version"));
        }
        settings.check()
    }

    /// A variable that is set to nothing counts as not set, as unit files often have it.
    fn drop_empty(&mut self) {
        for text in [
            &mut self.config,
            &mut self.data,
            &mut self.tls_cert,
            &mut self.tls_key,
            &mut self.account,
            &mut self.region,
            &mut self.suffix,
            &mut self.public_url,
            &mut self.root_access_key_id,
            &mut self.root_secret_access_key,
            &mut self.database,
            &mut self.blobs,
            &mut self.blob_redirect,
            &mut self.root_key_file,
            &mut self.rate_quotas,
            &mut self.log,
            &mut self.log_format,
            &mut self.gc_interval,
            &mut self.gc_grace,
            &mut self.gc_trash,
            &mut self.undo_window,
            &mut self.lifecycle_interval,
            &mut self.images_per_repository,
            &mut self.repositories_per_registry,
            &mut self.scrub_interval,
            &mut self.scrub_rate,
            &mut self.oidc_loopback,
            &mut self.test_clock,
        ] {
            text.take_if(|text| text.is_empty());
        }
        for list in [
            &mut self.listen,
            &mut self.regions,
            &mut self.create_on_push,
            &mut self.trusted_proxies,
            &mut self.oidc_jwks,
        ] {
            list.take_if(|list| list.iter().all(String::is_empty));
        }
    }

    fn addresses(&self) -> Result<Vec<SocketAddr>, BadSetting> {
        let default = vec!["127.0.0.1:5000".to_owned()];
        let texts = self.listen.clone().unwrap_or(default);
        let parse = |text: &String| {
            text.parse()
                .map_err(|_| bad(format!("`listen`: `{text}` is not an address and port such as 127.0.0.1:5000")))
        };
        texts.iter().map(parse).collect()
    }

    fn tls(&self) -> Result<Option<(PathBuf, PathBuf)>, BadSetting> {
        match (&self.tls_cert, &self.tls_key) {
            (None, None) => Ok(None),
            (Some(cert), Some(key)) => Ok(Some((cert.into(), key.into()))),
            _ => Err(bad("`tls-cert` and `tls-key` must be given together")),
        }
    }

    fn region(&self) -> Result<Region, BadSetting> {
        let text = self.region.as_deref().unwrap_or("us-east-1");
        text.parse().map_err(|error| bad(format!("`region`: `{text}`: {error}")))
    }

    fn regions(&self) -> Result<Regions, BadSetting> {
        let mut listed = vec![self.region()?];
        for text in self.regions.iter().flatten() {
            if text == "*" {
                return Ok(Regions::Any);
            }
            listed.push(text.parse().map_err(|error| bad(format!("`regions`: `{text}`: {error}")))?);
        }
        Ok(Regions::Listed(listed))
    }

    fn root_access_key(&self) -> Result<Option<(String, String)>, BadSetting> {
        match (&self.root_access_key_id, &self.root_secret_access_key) {
            (None, None) => Ok(None),
            (Some(id), Some(secret)) => {
                let valid = (3..=128).contains(&id.len()) && id.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
                if !valid || secret.len() < 8 {
                    return Err(bad("the root access key needs an id of letters and digits and a secret of 8 or more"));
                }
                Ok(Some((id.clone(), secret.clone())))
            }
            _ => Err(bad("`root-access-key-id` and `root-secret-access-key` must be given together")),
        }
    }

    fn trusted_proxies(&self) -> Result<Vec<Network>, BadSetting> {
        let wrong =
            |text: &str| bad(format!("`trusted-proxies`: `{text}` is not an address or network such as 10.0.0.0/8"));
        self.trusted_proxies.iter().flatten().map(|text| Network::parse(text).ok_or_else(|| wrong(text))).collect()
    }

    fn redirect(&self) -> Result<Redirect, BadSetting> {
        let text = choice("blob-redirect", self.blob_redirect.as_deref(), "auto", &["auto", "always", "never"])?;
        // On local storage the server sends the bytes itself, so `auto` is `never`.
        Ok(if text == "always" { Redirect::Always } else { Redirect::Never })
    }

    fn quotas(&self) -> Result<Quotas, BadSetting> {
        let all = OwnQuotas {
            repositories_per_registry: parsed("repositories-per-registry", self.repositories_per_registry.as_deref())?,
            images_per_repository: parsed("images-per-repository", self.images_per_repository.as_deref())?,
            rates: self.rates.clone().unwrap_or_default(),
        };
        let mut quotas = Quotas { all: all.resolve()?, ..Quotas::default() };
        for (account, own) in self.accounts.iter().flatten() {
            let account = account.parse().map_err(|error| bad(format!("`accounts`: `{account}`: {error}")))?;
            quotas.accounts.insert(account, own.clone().resolve()?);
        }
        Ok(quotas)
    }

    fn scrub(&self) -> Result<Scrub, BadSetting> {
        const MIB: f64 = 1024.0 * 1024.0;
        let rate = parsed::<u32>("scrub-rate", self.scrub_rate.as_deref())?.unwrap_or(20);
        if rate == 0 {
            return Err(bad("`scrub-rate` must be 1 at least; `scrub-interval` 0s switches the scrub off"));
        }
        let every = duration("scrub-interval", self.scrub_interval.as_deref(), 7 * DAY)?;
        Ok(Scrub { every, bytes_per_second: f64::from(rate) * MIB })
    }

    fn spans(&self) -> Result<Spans, BadSetting> {
        let default = Spans::default();
        Ok(Spans {
            grace: duration("gc-grace", self.gc_grace.as_deref(), default.grace)?,
            trash: duration("gc-trash", self.gc_trash.as_deref(), default.trash)?,
            undo: duration("undo-window", self.undo_window.as_deref(), default.undo)?,
        })
    }
}

impl Settings {
    fn check(self) -> Result<Self, BadSetting> {
        if self.test_clock && self.listen.iter().any(|address| !address.ip().is_loopback()) {
            return Err(bad("the test clock is refused with a listener that is not on the loopback interface"));
        }
        if self.gc_interval.is_zero() {
            return Err(bad("`gc-interval` must be a second at least"));
        }
        if let Some(url) = &self.public_url
            && !url.starts_with("http://")
            && !url.starts_with("https://")
        {
            return Err(bad(format!("`public-url`: `{url}` must begin with http:// or https://")));
        }
        Ok(self)
    }
}

/// A list in a file may be one text.
fn one_or_more<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMore {
        One(String),
        More(Vec<String>),
    }
    Ok(Some(match OneOrMore::deserialize(value)? {
        OneOrMore::One(text) => text.split(',').map(str::to_owned).collect(),
        OneOrMore::More(list) => list,
    }))
}

/// A part without `=` is a level; a mistyped one would silence everything else.
fn log_filter(text: Option<String>) -> Result<String, BadSetting> {
    let text = text.unwrap_or_else(|| "info".into());
    for part in text.split(',') {
        let level = part.split_once('=').map_or(part, |(_, level)| level);
        if level.trim().parse::<tracing_subscriber::filter::LevelFilter>().is_err() {
            return Err(bad(format!("`log`: `{part}` is not a level such as info, or target=level")));
        }
    }
    Ok(text)
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    name: &str,
    text: Option<&str>,
) -> Result<Option<T>, BadSetting> {
    text.map(|text| text.parse().map_err(|error| bad(format!("`{name}`: `{text}`: {error}")))).transpose()
}

fn choice<'a>(name: &str, given: Option<&'a str>, default: &'a str, all: &[&str]) -> Result<&'a str, BadSetting> {
    let text = given.unwrap_or(default);
    if all.contains(&text) {
        return Ok(text);
    }
    Err(bad(format!("`{name}`: `{text}` is not one of {}", all.join(", "))))
}

fn database(url: Option<String>) -> Result<Option<String>, BadSetting> {
    match url {
        Some(url) if !url.starts_with("postgres://") && !url.starts_with("postgresql://") => {
            Err(bad("`database`: the URL must begin with postgres://"))
        }
        url => Ok(url),
    }
}

/// `90s`, `15m`, `24h`, `7d`
fn duration(name: &str, text: Option<&str>, default: Duration) -> Result<Duration, BadSetting> {
    let Some(text) = text else { return Ok(default) };
    let wrong = || bad(format!("`{name}`: `{text}` is not a time such as 90s, 15m, 24h or 7d"));
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(number.checked_mul(seconds).ok_or_else(wrong)?))
}
