//! Operator commands: done by the server that runs on the data folder, or else here.

use std::{io::Write as _, process::ExitCode, sync::Arc};

use funaya_gate::Gate;
use funaya_ports::{audit, meta::Effort};
use funaya_registry::AT_ONCE;
use funaya_types::{Registry, Secret};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    account::{self, Account},
    cli::Format,
    control,
    data::{Data, Failed},
    house::House,
    reasons::{self, Replay},
    restore::{self, Restore},
    serve,
    settings::Settings,
};

/// What an operator asks for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Task {
    Credentials(Format),
    Verify,
    Scrub,
    Gc,
    GcDryRun,
    GcExplain(String),
    Audit,
    Usage { json: bool },
    Explain { id: String, json: bool },
    Replay(Replay),
    Account(Account),
    Restore(Restore),
}

/// Takes lines of output.
pub(crate) type Lines = tokio::sync::mpsc::Sender<String>;

pub(crate) fn run(settings: Settings, task: Task) -> Result<ExitCode, Failed> {
    serve::runtime()?.block_on(async {
        if let Some(done) = control::ask(&settings.data, &task).await? {
            return Ok(done);
        }
        let public_url = settings.public_url.clone().unwrap_or_else(|| {
            let scheme = if settings.tls.is_some() { "https" } else { "http" };
            format!("{scheme}://{}", settings.listen[0])
        });
        if !Data::exists(&settings) {
            let text = "the data folder `{}` holds no registry: `funaya serve` makes one";
            return Err(text.replace("{}", &settings.data.display().to_string()).into());
        }
        let data = Data::open(&settings).await?;
        let (house, _) = House::build(&settings, data, public_url)?;
        let (lines, mut out) = tokio::sync::mpsc::channel(256);
        let done = tokio::spawn(async move { perform(&house, task, lines).await });
        while let Some(line) = out.recv().await {
            if writeln!(std::io::stdout(), "{line}").is_err() {
                // Nobody reads on, as with `| head`.
                return Ok(ExitCode::SUCCESS);
            }
        }
        Ok(done.await?)
    })
}

/// Does a task and tells whether it went well: exit code 0, or 1.
pub(crate) async fn perform(house: &House, task: Task, lines: Lines) -> ExitCode {
    let outcome = match task {
        Task::Credentials(format) => credentials(house, format, &lines).await,
        Task::Verify => verify(house, &lines).await,
        Task::Scrub => scrub(house, &lines).await,
        Task::Gc => gc(house, &lines).await,
        Task::GcDryRun => gc_dry_run(house, &lines).await,
        Task::GcExplain(digest) => gc_explain(house, &digest, &lines).await,
        Task::Audit => print_audit(house, &lines).await,
        Task::Usage { json } => usage(house, json, &lines).await,
        Task::Explain { id, json } => reasons::explain(house, &id, json, &lines).await,
        Task::Restore(what) => restore::perform(house, &what, &lines).await,
        Task::Replay(replay) => reasons::replay(house, &replay, &lines).await,
        Task::Account(task) => account::perform(house, task, &lines).await,
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&lines, format!("failed: {error}")).await;
            ExitCode::FAILURE
        }
    }
}

/// Whether it went well.
pub(crate) type Outcome = Result<bool, Failed>;

pub(crate) async fn say(lines: &Lines, text: String) {
    // Nobody reads any more: nothing to tell.
    let _ = lines.send(text).await;
}

async fn credentials(house: &House, format: Format, lines: &Lines) -> Outcome {
    let (id, secret) = &house.data.root_access_key;
    let authorization = registry_authorization(&house.gate);
    let registry = house.gate.default_registry();
    say(lines, credentials_text(house, registry, (id, secret), format, Some(authorization))).await;
    Ok(true)
}

/// A root's access key with all that a client needs to use it. `authorization`: for registry clients.
pub(crate) fn credentials_text(
    house: &House,
    registry: &Registry,
    (id, secret): (&str, &Secret),
    format: Format,
    authorization: Option<String>,
) -> String {
    let endpoints = house.hall.endpoints();
    let api = match &endpoints.suffix {
        Some(suffix) => format!("https://api.ecr.{}.{suffix}", registry.region),
        None => endpoints.public_url.clone(),
    };
    let others = match &endpoints.suffix {
        Some(suffix) => [
            format!("https://iam.{suffix}"),
            format!("https://sts.{}.{suffix}", registry.region),
            format!("https://organizations.us-east-1.{suffix}"),
        ],
        None => [endpoints.public_url.clone(), endpoints.public_url.clone(), endpoints.public_url.clone()],
    };
    let [iam, sts, organizations] = others;
    let url = endpoints.registry_url(registry);
    let host = url.split_once("://").map_or(url.as_str(), |(_, host)| host);
    match format {
        Format::Env => format!(
            "unset AWS_PROFILE AWS_SESSION_TOKEN\nexport AWS_ACCESS_KEY_ID={id}\nexport AWS_SECRET_ACCESS_KEY={}\n\
             export AWS_REGION={region}\nexport AWS_DEFAULT_REGION={region}\nexport AWS_ENDPOINT_URL_ECR={api}\n\
             export AWS_ENDPOINT_URL_IAM={iam}\nexport AWS_ENDPOINT_URL_STS={sts}\n\
             export AWS_ENDPOINT_URL_ORGANIZATIONS={organizations}\n\
             export FUNAYA_ACCOUNT_ID={}\nexport FUNAYA_REGISTRY={host}",
            secret.expose(),
            registry.account,
            region = registry.region,
        ),
        Format::Process => json!({"Version": 1, "AccessKeyId": id, "SecretAccessKey": secret.expose()}).to_string(),
        Format::Json => json!({
            "accessKeyId": id,
            "secretAccessKey": secret.expose(),
            "accountId": registry.account.as_str(),
            "region": registry.region.as_str(),
            "endpointUrl": api,
            "registry": host,
            "registryAuthorization": authorization,
        })
        .to_string(),
    }
}

/// What a registry client sends as `Authorization: Basic …`, good for twelve hours.
fn registry_authorization(gate: &Gate) -> String {
    gate.issue_root_token().authorization
}

async fn verify(house: &House, lines: &Lines) -> Outcome {
    let mut faults = Vec::new();
    let (blobs, manifests) = house.hall.verify(house.gate.upkeep(), |fault| faults.push(fault.to_string())).await?;
    let unowned = house.hall.unowned(house.gate.upkeep()).await?;
    if !unowned.is_empty() {
        say(lines, format!("{} objects belong to nothing: gc removes them when they are old", unowned.len())).await;
    }
    report(lines, &faults, format!("verified {blobs} blobs and {manifests} manifests")).await
}

async fn scrub(house: &House, lines: &Lines) -> Outcome {
    let mut faults = Vec::new();
    let blobs = house.hall.scrub(house.gate.upkeep(), &AT_ONCE, |fault| faults.push(fault.to_string())).await?;
    report(lines, &faults, format!("read {blobs} blobs")).await
}

async fn report(lines: &Lines, faults: &[String], summary: String) -> Outcome {
    for fault in faults {
        say(lines, format!("damaged: {fault}")).await;
    }
    say(lines, format!("{summary}: {} damaged", faults.len())).await;
    Ok(faults.is_empty())
}

async fn gc(house: &House, lines: &Lines) -> Outcome {
    let tidied = house.hall.collect(house.gate.upkeep(), house.gate.now(), || Effort::Gentle).await?;
    let unowned = house.hall.sweep_unowned(house.gate.upkeep(), house.gate.now()).await?;
    let text = format!(
        "removed {} deleted images and repositories, {} layer links, {} blobs, {} uploads, {} objects",
        tidied.tombstones,
        tidied.links,
        tidied.blobs,
        tidied.uploads,
        tidied.objects + unowned
    );
    say(lines, text).await;
    Ok(true)
}

async fn gc_dry_run(house: &House, lines: &Lines) -> Outcome {
    let all = house.hall.removable(house.gate.upkeep(), house.gate.now()).await?;
    for one in &all {
        let place = one.repository.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
        let bytes = if one.bytes > 0 { format!(", {} bytes", one.bytes) } else { String::new() };
        say(lines, format!("{} {}{place}{bytes}", one.what, one.name)).await;
    }
    let bytes: u64 = all.iter().map(|one| one.bytes).sum();
    say(lines, format!("{} would be removed now, {bytes} bytes of blobs and uploads", all.len())).await;
    Ok(true)
}

async fn gc_explain(house: &House, digest: &str, lines: &Lines) -> Outcome {
    let (registry, now) = (house.gate.default_registry(), house.gate.now());
    let told = house.hall.explain_digest(house.gate.upkeep(), registry, &digest.parse()?, now).await?;
    if told.is_empty() {
        return Err(format!("nothing is known of {digest} in {registry}").into());
    }
    for line in told {
        say(lines, line).await;
    }
    Ok(true)
}

/// QUOTA-20 to QUOTA-26
async fn usage(house: &House, as_json: bool, lines: &Lines) -> Outcome {
    for one in house.gate.usage(house.gate.upkeep()) {
        let rate = one.rate.map(|rate| (rate.per_second, rate.burst));
        let text = if as_json {
            json!({
                "accountId": one.account.as_str(), "region": one.region.as_str(), "action": one.action,
                "calls": one.calls, "throttled": one.throttled,
                "perSecond": rate.map(|rate| rate.0), "burst": rate.map(|rate| rate.1),
            })
            .to_string()
        } else {
            let rate = rate.map_or("no rate".into(), |(per_second, burst)| format!("{per_second}/s, burst {burst}"));
            format!(
                "{} {} {}: {} calls, {} throttled ({rate})",
                one.account, one.region, one.action, one.calls, one.throttled
            )
        };
        say(lines, text).await;
    }
    Ok(true)
}

async fn print_audit(house: &House, lines: &Lines) -> Outcome {
    let mut after = (i64::MIN, String::new());
    loop {
        let page = house.data.meta.audit(after.clone(), 100).await?;
        let Some((_, last, _)) = page.last() else { return Ok(true) };
        after = last.clone();
        for (registry, _, body) in &page {
            for record in audit::unpack(registry, body)? {
                say(lines, record.to_string()).await;
            }
        }
    }
}

/// For the control socket: the same, over a shared house.
pub(crate) fn spawn(house: Arc<House>, task: Task, lines: Lines) -> tokio::task::JoinHandle<bool> {
    tokio::spawn(async move { perform(&house, task, lines).await == ExitCode::SUCCESS })
}
