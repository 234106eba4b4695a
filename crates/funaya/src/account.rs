//! `funaya account`: accounts of the organization, by whoever runs the machine (COMP-919).

use funaya_gate::{Client, Permit, Resources, action::organizations as actions};
use funaya_identity::{FreshKey, NewAccount, OrganizationError, PageAt};
use funaya_types::Registry;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    cli::Format,
    data::Failed,
    house::House,
    operator::{Lines, Outcome, credentials_text, say},
};

/// Accounts read at once.
const PAGE: u32 = 500;

/// What to do with accounts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Account {
    Create { name: String, email: Option<String>, format: Format },
    List { json: bool },
}

pub(crate) async fn perform(house: &House, task: Account, lines: &Lines) -> Outcome {
    match task {
        Account::Create { name, email, format } => create(house, name, email, format, lines).await,
        Account::List { json } => list(house, json, lines).await,
    }
}

/// A permit of the operator, who acts as the root of the management account.
async fn permit<A: funaya_gate::Action<Target = Resources>>(house: &House) -> Result<Permit<A>, Failed> {
    let client = Client {
        source_ip: std::net::Ipv4Addr::LOCALHOST.into(),
        secure: true,
        user_agent: "funaya account".into(),
        request_id: house.gate.request_id(),
        at: house.gate.now(),
    };
    let call = house.gate.operator(&client);
    let registry = house.gate.default_registry();
    Ok(house.gate.authorize::<A>(&call, registry, Resources::all(), Value::Null).await?)
}

async fn create(house: &House, name: String, email: Option<String>, format: Format, lines: &Lines) -> Outcome {
    match house.identities.create_organization(&permit(house).await?).await {
        Ok(_) | Err(OrganizationError::AlreadyIn) => {}
        Err(error) => return Err(error.into()),
    }
    let new = NewAccount { name, email, role_name: None, tags: Vec::new() };
    let permit = permit::<actions::CreateAccount>(house).await?;
    let (request, key) = house.identities.create_account_with_key(&permit, &new).await?;
    let (Some(account), Some(FreshKey { key, secret })) = (request.account(), key) else {
        say(lines, "failed: another account has this e-mail address".into()).await;
        return Ok(false);
    };
    let region = house.gate.default_registry().region.clone();
    let registry = Registry { account: account.parse()?, region };
    say(lines, credentials_text(house, &registry, (&key.id, &secret), format, None)).await;
    Ok(true)
}

async fn list(house: &House, json: bool, lines: &Lines) -> Outcome {
    let mut at = PageAt { after: String::new(), limit: PAGE };
    loop {
        let permit = permit::<actions::ListAccounts>(house).await?;
        let page = match house.identities.accounts(&permit, &at).await {
            Ok((_, page)) => page,
            Err(OrganizationError::NotInUse) => {
                let account = house.gate.default_registry().account;
                say(lines, line(account.as_str(), "management", "", false, json)).await;
                return Ok(true);
            }
            Err(error) => return Err(error.into()),
        };
        for member in &page.items {
            let body = &member.body;
            let closed = body.closed_at.is_some();
            say(lines, line(member.id.as_str(), &body.name, &body.email, closed, json)).await;
        }
        match page.next {
            Some(next) => at.after = next,
            None => return Ok(true),
        }
    }
}

fn line(id: &str, name: &str, email: &str, closed: bool, json: bool) -> String {
    let status = if closed { "SUSPENDED" } else { "ACTIVE" };
    match json {
        true => json!({"accountId": id, "name": name, "email": email, "status": status}).to_string(),
        false => format!("{id}  {status:<9}  {name}  {email}").trim_end().to_owned(),
    }
}
