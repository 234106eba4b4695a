//! Console passwords (COMP-009 to COMP-013, IAM-08, IAM-09).

use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use funaya_gate::{Permit, action::iam};
use funaya_ports::identity::{self as rows, Login, PasswordPolicy};
use funaya_types::{AccountId, Secret, Timestamp};
use serde_json::{Value, json};

use crate::{Error, Held, Identities, Owner, Result, account, off_reactor, recorded, shapes};

const ROUNDS: NonZeroU32 = match NonZeroU32::new(600_000) {
    Some(rounds) => rounds,
    None => NonZeroU32::MIN,
};
const SCHEME: &str = "pbkdf2-sha256";
const SALT: usize = 16;
const HASH: usize = 32;
/// As many as a policy may forbid to come again.
const EARLIER_MAX: usize = 24;
/// IAM's own list.
const SYMBOLS: &str = "!@#$%^&*()_+-=[]{}|'";
/// Without rules of the account: so long, and of so many kinds of characters.
const LENGTH_MIN: u32 = 8;
const KINDS_MIN: usize = 3;

/// A user's console sign-in.
#[derive(Clone, Debug)]
pub struct LoginProfile {
    /// The user's name.
    pub user_name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// The password must be changed at the next sign-in.
    pub reset_required: bool,
}

/// What a change of a login profile says.
#[derive(Clone, Debug)]
pub struct LoginChange {
    /// The new password.
    pub password: Option<Secret>,
    /// Whether it must be changed at the next sign-in.
    pub reset_required: Option<bool>,
}

impl Identities {
    /// Gives a user a password.
    pub async fn create_login_profile(
        &self,
        permit: &Permit<iam::CreateLoginProfile>,
        name: &str,
        password: &Secret,
        reset_required: bool,
    ) -> Result<LoginProfile> {
        let account = account(permit);
        self.check_password(account, password, permit.now()).await?;
        let hash = self.hash(password).await?;
        self.change(|| async {
            let mut held = self.get::<rows::User>(account, name).await?;
            if held.body.login.is_some() {
                return Err(Error::LoginExists(held.body.name));
            }
            let (created_at, changed_at) = (permit.now(), permit.now());
            let earlier = Vec::new();
            held.body.login = Some(Login { hash: hash.clone(), earlier, created_at, changed_at, reset_required });
            let profile = LoginProfile { user_name: held.body.name.clone(), created_at, reset_required };
            let mut change = recorded(permit, shown(&profile));
            change.put.push(held.put());
            Ok((change, profile))
        })
        .await
    }

    /// Whether a user can sign in to the console.
    pub async fn login_profile(&self, permit: &Permit<iam::GetLoginProfile>, name: &str) -> Result<LoginProfile> {
        let held = self.get::<rows::User>(account(permit), name).await?;
        let Some(login) = held.body.login else { return Err(Error::NoLogin(held.body.name)) };
        let Login { created_at, reset_required, .. } = login;
        Ok(LoginProfile { user_name: held.body.name, created_at, reset_required })
    }

    /// Sets a user's password anew, or whether it must be changed.
    pub async fn update_login_profile(
        &self,
        permit: &Permit<iam::UpdateLoginProfile>,
        name: &str,
        new: &LoginChange,
    ) -> Result<()> {
        let account = account(permit);
        let hash = match &new.password {
            Some(password) => {
                self.check_password(account, password, permit.now()).await?;
                Some(self.hash(password).await?)
            }
            None => None,
        };
        self.change(|| async {
            let mut held = self.get::<rows::User>(account, name).await?;
            let login = login_of(&mut held)?;
            if let (Some(hash), Some(password)) = (&hash, &new.password) {
                self.check_reuse(account, login, password, permit.now()).await?;
                set(login, hash, permit.now());
            }
            login.reset_required = new.reset_required.unwrap_or(login.reset_required);
            let mut change = recorded(permit, Value::Null);
            change.put.push(held.put());
            Ok((change, ()))
        })
        .await
    }

    /// Takes a user's password away.
    pub async fn delete_login_profile(&self, permit: &Permit<iam::DeleteLoginProfile>, name: &str) -> Result<()> {
        self.change(|| async {
            let mut held = self.get::<rows::User>(account(permit), name).await?;
            login_of(&mut held)?;
            held.body.login = None;
            let mut change = recorded(permit, Value::Null);
            change.put.push(held.put());
            Ok((change, ()))
        })
        .await
    }

    /// Changes the caller's own password.
    pub async fn change_password(
        &self,
        permit: &Permit<iam::ChangePassword>,
        old: &Secret,
        new: &Secret,
    ) -> Result<()> {
        let Some(Owner::User(name)) = Owner::calling(permit.call().caller()) else { return Err(Error::NotUser) };
        let account = account(permit);
        let held = self.get::<rows::User>(account, &name).await?;
        let known = held.body.login.map(|login| login.hash).ok_or(Error::NoLogin(held.body.name))?;
        if !matches(old, vec![known.clone()]).await? {
            return Err(Error::WrongPassword);
        }
        self.check_password(account, new, permit.now()).await?;
        let hash = self.hash(new).await?;
        self.change(|| async {
            let mut held = self.get::<rows::User>(account, &name).await?;
            let login = login_of(&mut held)?;
            // It was set anew while this one was looked at.
            if login.hash != known {
                return Err(Error::WrongPassword);
            }
            self.check_reuse(account, login, new, permit.now()).await?;
            set(login, &hash, permit.now());
            login.reset_required = false;
            let mut change = recorded(permit, Value::Null);
            change.put.push(held.put());
            Ok((change, ()))
        })
        .await
    }

    async fn check_password(&self, account: AccountId, password: &Secret, now: Timestamp) -> Result<()> {
        let (_, body) = self.account_row(account, now).await?;
        let fault = match &body.password_policy {
            Some(policy) => fault(password.expose(), policy),
            None => default_fault(password.expose()),
        };
        let own = [Some(body.name), body.alias, Some(body.email)];
        if own.into_iter().flatten().any(|text| text == password.expose()) {
            return Err(Error::Password(
                "Password must not be identical to the account's name or email address".into(),
            ));
        }
        fault.map_or(Ok(()), |text| Err(Error::Password(text)))
    }

    async fn check_reuse(&self, account: AccountId, login: &Login, password: &Secret, now: Timestamp) -> Result<()> {
        let (_, body) = self.account_row(account, now).await?;
        let kept = body.password_policy.and_then(|policy| policy.reuse_prevention).unwrap_or_default();
        let kept = usize::try_from(kept).unwrap_or(EARLIER_MAX);
        let forbidden: Vec<String> = std::iter::once(&login.hash).chain(&login.earlier).take(kept).cloned().collect();
        if matches(password, forbidden).await? {
            return Err(Error::Password("Password should not be one of the passwords used before".into()));
        }
        Ok(())
    }

    /// `pbkdf2-sha256$600000$salt$hash`; takes its time, off the reactor.
    async fn hash(&self, password: &Secret) -> Result<String> {
        let (mut salt, password) = ([0; SALT], password.clone());
        self.parts.random.fill(&mut salt);
        off_reactor(move || {
            let mut out = [0; HASH];
            pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, &salt, password.expose().as_bytes(), &mut out);
            let (salt, out) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(out));
            format!("{SCHEME}${ROUNDS}${salt}${out}")
        })
        .await
    }
}

/// Whether a password has one of these hashes.
async fn matches(password: &Secret, hashes: Vec<String>) -> Result<bool> {
    let password = password.clone();
    off_reactor(move || hashes.iter().any(|hash| has_hash(password.expose(), hash))).await
}

fn has_hash(password: &str, stored: &str) -> bool {
    let parts: Vec<&str> = stored.split('$').collect();
    let [SCHEME, rounds, salt, hash] = parts[..] else { return false };
    let (Ok(rounds), Ok(salt), Ok(hash)) =
        (rounds.parse::<NonZeroU32>(), STANDARD_NO_PAD.decode(salt), STANDARD_NO_PAD.decode(hash))
    else {
        return false;
    };
    pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password.as_bytes(), &hash).is_ok()
}

fn login_of(held: &mut Held<rows::User>) -> Result<&mut Login> {
    let name = held.body.name.clone();
    held.body.login.as_mut().ok_or(Error::NoLogin(name))
}

fn set(login: &mut Login, hash: &str, now: Timestamp) {
    let old = std::mem::replace(&mut login.hash, hash.to_owned());
    login.earlier.insert(0, old);
    login.earlier.truncate(EARLIER_MAX);
    login.changed_at = now;
}

/// What a password lacks of the account's rules. The texts are IAM's.
fn fault(password: &str, policy: &PasswordPolicy) -> Option<String> {
    let length = u32::try_from(password.chars().count()).unwrap_or(u32::MAX);
    if length < policy.length_min {
        return Some(format!("Password should have a minimum length of {}", policy.length_min));
    }
    let has = |what: fn(char) -> bool| password.chars().any(what);
    let rules = [
        (policy.uppercase && !has(is_upper), "uppercase letter"),
        (policy.lowercase && !has(is_lower), "lowercase letter"),
        (policy.numbers && !has(is_number), "number"),
        (policy.symbols && !has(is_symbol), "symbol"),
    ];
    let missing = rules.into_iter().find(|(missing, _)| *missing)?;
    Some(format!("Password should have at least one {}", missing.1))
}

fn default_fault(password: &str) -> Option<String> {
    if u32::try_from(password.chars().count()).is_ok_and(|length| length < LENGTH_MIN) {
        return Some(format!("Password should have a minimum length of {LENGTH_MIN}"));
    }
    let kinds: [fn(char) -> bool; 4] = [is_upper, is_lower, is_number, is_symbol];
    let kinds = kinds.into_iter().filter(|kind| password.chars().any(kind)).count();
    let text = "Password should have at least three of: uppercase letters, lowercase letters, numbers, symbols";
    (kinds < KINDS_MIN).then(|| text.to_owned())
}

fn is_upper(c: char) -> bool {
    c.is_ascii_uppercase()
}

fn is_lower(c: char) -> bool {
    c.is_ascii_lowercase()
}

fn is_number(c: char) -> bool {
    c.is_ascii_digit()
}

fn is_symbol(c: char) -> bool {
    SYMBOLS.contains(c)
}

fn shown(profile: &LoginProfile) -> Value {
    json!({"loginProfile": {
        "userName": profile.user_name,
        "createDate": shapes::time(profile.created_at),
        "passwordResetRequired": profile.reset_required,
    }})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_rules_of_the_account() {
        let cases = [
            ("Abcdefg1", true),
            ("abcdefg1!", true),
            ("Abcdef1", false),
            ("abcdefgh1", false),
            ("ABCDEFGH", false),
            ("Пароль12345", false),
        ];
        for (password, want) in cases {
            assert_eq!(default_fault(password).is_none(), want, "{password}");
        }
    }

    #[test]
    fn hashes_of_no_known_form_match_nothing() {
        for stored in ["", "$$$", "pbkdf2-sha256$0$AAAA$AAAA", "pbkdf2-sha256$1$AAAA", "plain$1$AAAA$AAAA"] {
            assert!(!has_hash("x", stored), "{stored}");
        }
    }
}
