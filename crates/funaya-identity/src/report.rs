//! The credential report: a table of who has which credentials, how old they are, and when they were used.

use std::{fmt::Write as _, time::Duration};

use funaya_gate::{Permit, action::iam};
use funaya_ports::identity::{self as rows, Entity, LastUse, Relation};
use funaya_types::{AccountId, Timestamp};
use serde_json::json;

use crate::{Error, Held, Identities, Key, Result, account, recorded};

const HEAD: &str = "user,arn,user_creation_time,password_enabled,password_last_used,password_last_changed,\
    password_next_rotation,mfa_active,access_key_1_active,access_key_1_last_rotated,access_key_1_last_used_date,\
    access_key_1_last_used_region,access_key_1_last_used_service,access_key_2_active,access_key_2_last_rotated,\
    access_key_2_last_used_date,access_key_2_last_used_region,access_key_2_last_used_service,cert_1_active,\
    cert_1_last_rotated,cert_2_active,cert_2_last_rotated\n";
const NONE: &str = "N/A";
const UNKNOWN: &str = "not_supported";
const KEYS: usize = 2;
/// A report is good for so long; within it no other is made.
const GOOD_FOR: Duration = Duration::from_secs(4 * 3600);
const DAY: Duration = Duration::from_secs(86_400);

impl Identities {
    /// Makes the account's report, unless there is a fresh one. Whether one was made.
    pub async fn generate_report(&self, permit: &Permit<iam::GenerateCredentialReport>) -> Result<bool> {
        let account = account(permit);
        let state = |made: bool| json!({"state": if made { "STARTED" } else { "COMPLETE" }});
        self.change(|| async {
            let (entity, mut body) = self.account_row(account, permit.now()).await?;
            let made = body.credential_report.as_ref().is_none_or(|(at, _)| at.plus(GOOD_FOR) <= permit.now());
            let mut change = recorded(permit, state(made));
            if made {
                let text = self.table(account, &entity, &body, permit.now()).await?;
                body.credential_report = Some((permit.now(), text));
            }
            change.put.push(entity.with(&body));
            Ok((change, made))
        })
        .await
    }

    /// The account's report and when it was made.
    pub async fn report(&self, permit: &Permit<iam::GetCredentialReport>) -> Result<(Timestamp, String)> {
        let (_, body) = self.account_row(account(permit), permit.now()).await?;
        let (at, text) = body.credential_report.ok_or(Error::ReportMissing)?;
        if at.plus(GOOD_FOR) <= permit.now() { Err(Error::ReportExpired) } else { Ok((at, text)) }
    }

    async fn table(&self, account: AccountId, entity: &Entity, body: &rows::Account, now: Timestamp) -> Result<String> {
        let mut table = HEAD.to_owned();
        let mfa = self.store().links_from(&account, Relation::HasMfa, account.as_str()).await?;
        let keys = self.key_cells(self.root_keys(account, now).await?).await?;
        let (arn, created) = (format!("arn:aws:iam::{account}:root"), entity.created_at.iso8601());
        let unknown = [UNKNOWN; 4].join(",");
        row(&mut table, &format!("<root_account>,{arn},{created},{unknown},{},{keys}", !mfa.is_empty()));
        let days = body.password_policy.as_ref().and_then(|policy| policy.days_max);
        for user in self.everyone::<rows::User>(account).await? {
            let mfa = self.store().links_from(&account, Relation::HasMfa, user.id()).await?;
            let keys = self.key_cells(self.user_keys(&user).await?).await?;
            let (arn, created) = (user.arn(), user.entity.created_at.iso8601());
            let password = password_cells(&user, days);
            row(&mut table, &format!("{},{arn},{created},{password},{},{keys}", user.body.name, !mfa.is_empty()));
        }
        Ok(table)
    }

    async fn key_cells(&self, keys: Vec<Key>) -> Result<String> {
        let mut cells = Vec::new();
        for at in 0..KEYS {
            let key = keys.get(at);
            let used = match key {
                Some(key) => self.store().last_use(&key.id).await?,
                None => None,
            };
            cells.push(key.is_some_and(|key| key.active).to_string());
            cells.push(key.and_then(|key| key.created_at).map_or_else(|| NONE.into(), Timestamp::iso8601));
            cells.extend(use_cells(used));
        }
        Ok(cells.join(","))
    }
}

fn row(table: &mut String, cells: &str) {
    // No user has a signing certificate. Writing into a text does not fail.
    let _ = writeln!(table, "{cells},false,{NONE},false,{NONE}");
}

fn use_cells(used: Option<LastUse>) -> [String; 3] {
    match used {
        Some(used) => [used.at.iso8601(), used.region, used.service],
        None => [NONE.into(), NONE.into(), NONE.into()],
    }
}

fn password_cells(user: &Held<rows::User>, days: Option<u32>) -> String {
    let Some(login) = &user.body.login else { return format!("false,{NONE},{NONE},{NONE}") };
    let next = days.map_or_else(|| NONE.to_owned(), |days| login.changed_at.plus(DAY * days).iso8601());
    format!("true,no_information,{},{next}", login.changed_at.iso8601())
}
