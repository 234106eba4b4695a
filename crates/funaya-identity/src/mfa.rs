//! Virtual MFA devices (COMP-019 to COMP-023, IAM-11).

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use funaya_gate::{Action, Caller, Permit, Resources, action::iam};
use funaya_policy::Principal;
use funaya_ports::{
    identity::{self as rows, Change, Entity, Kind, Link, MfaDevice, Relation},
    meta::{self, Refusal},
};
use funaya_types::{AccountId, Secret, Timestamp};
use serde_json::{Value, json};

use crate::{
    BASE32, Error, Held, Identities, Owner, Page, PageAt, Result, SessionError, SessionResult, Tag, account,
    body::arn as iam_arn,
    recorded,
    row::{Row, key},
    tags, totp,
};

/// Letters of a seed in base 32: 320 bits, as AWS has it.
const SEED_LETTERS: usize = 64;
const DEVICES_MAX: usize = 8;
/// Steps by which a device that is synchronised anew may be off: half an hour.
const RESYNC_DRIFT: u64 = 60;
/// Steps by which a device that is new may be off.
const ENABLE_DRIFT: u64 = 2;
/// Wrong codes of one device in one step, after which none is looked at: a code is only a million to guess.
const TRIES_MAX: u32 = 5;
/// Devices whose wrong codes are remembered.
const REMEMBERED: usize = 10_000;

const WRONG: &str = "MultiFactorAuthentication failed with invalid MFA one time pass code. ";
const NOT_OWN: &str = "MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial number is valid and associated with this user.";

/// A device and who has it.
#[derive(Clone, Debug)]
pub struct Device {
    /// Row and body.
    pub row: Row<MfaDevice>,
    /// Its user; `None` and enabled: the root has it.
    pub user: Option<Held<rows::User>>,
}

impl Device {
    /// Its serial number, an ARN.
    pub fn serial(&self) -> &str {
        &self.row.entity.place.key
    }
}

/// A new device, with its seed, which is shown only now.
#[derive(Clone, Debug)]
pub struct FreshDevice {
    /// Its serial number, an ARN.
    pub serial: String,
    /// The seed in base 32.
    pub seed: Secret,
    /// What authenticator apps read from a picture.
    pub uri: Secret,
    /// Labels.
    pub tags: Vec<Tag>,
}

/// Which devices are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assigned {
    /// Those that somebody has.
    Yes,
    /// Those that nobody has.
    No,
    /// All.
    Any,
}

/// A code that is right and was not used; [`Proof::spent`] says that it is now.
#[derive(Clone, Debug)]
pub struct Proof(Row<MfaDevice>);

impl Proof {
    pub(crate) fn spent(self) -> Entity {
        self.0.put()
    }
}

/// Wrong codes, by device: the step and how many.
#[derive(Default)]
pub(crate) struct Tries(Mutex<HashMap<String, (u64, u32)>>);

impl Tries {
    /// Whether one more code may be looked at; it counts as wrong until it is forgiven.
    fn take(&self, serial: &str, step: u64) -> bool {
        let mut tries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tries.len() >= REMEMBERED {
            tries.retain(|_, (known, _)| *known == step);
        }
        let entry = tries.entry(serial.to_owned()).or_insert((step, 0));
        if entry.0 != step {
            *entry = (step, 0);
        }
        entry.1 += 1;
        entry.1 <= TRIES_MAX
    }

    fn forgive(&self, serial: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(serial);
    }
}

impl Identities {
    /// Makes a device that nobody has yet.
    pub async fn create_device(
        &self,
        permit: &Permit<iam::CreateVirtualMFADevice>,
        path: &str,
        name: &str,
        tags: &[Tag],
    ) -> Result<FreshDevice> {
        let account = account(permit);
        let serial = iam_arn(account, "mfa", path, name);
        let mut bytes = vec![0; SEED_LETTERS];
        self.parts.random.fill(&mut bytes);
        let seed: String = bytes.iter().map(|byte| char::from(BASE32[usize::from(byte % 32)])).collect();
        self.change(|| async {
            let place = key(account, Kind::MfaDevice, &serial);
            if self.store().entity(&place).await?.is_some() {
                return Err(Error::DeviceExists);
            }
            let body = MfaDevice {
                name: name.to_owned(),
                sealed: self.parts.mfa.seal(&seed, &serial),
                enabled_at: None,
                step_used: 0,
                tags: tags::fresh(tags)?,
            };
            let mut row = Row::new(place, serial.clone(), body, permit.now());
            path.clone_into(&mut row.entity.path);
            let mut change = recorded(permit, json!({"virtualMFADevice": {"serialNumber": serial}}));
            change.put.push(row.put());
            Ok((change, ()))
        })
        .await?;
        let uri = Secret::new(format!("otpauth://totp/Funaya:{name}@{account}?secret={seed}&issuer=Funaya"));
        Ok(FreshDevice { serial, seed: Secret::new(seed), uri, tags: tags.to_vec() })
    }

    /// Gives a device to a user or root, who shows two codes in a row.
    pub async fn enable_device(
        &self,
        permit: &Permit<iam::EnableMFADevice>,
        owner: &Owner,
        serial: &str,
        codes: [&str; 2],
    ) -> Result<()> {
        let account = account(permit);
        self.change(|| async {
            let (holder, guard) = self.mfa_holder(account, owner, permit.now()).await?;
            let mut row = self.device(account, serial).await?;
            if row.body.enabled_at.is_some() {
                return Err(Error::DeviceInUse);
            }
            if self.store().links_from(&account, Relation::HasMfa, &holder).await?.len() >= DEVICES_MAX {
                return Err(Error::Quota { name: "MFADevicesPerUser", max: DEVICES_MAX });
            }
            row.body.step_used = self.two_codes(&row, codes, permit.now(), ENABLE_DRIFT)?;
            row.body.enabled_at = Some(permit.now());
            let mut change = recorded(permit, Value::Null);
            fence(&mut change, guard);
            change.put.push(row.put());
            change.link.push(Link { account, relation: Relation::HasMfa, from: holder, to: serial.to_owned() });
            Ok((change, ()))
        })
        .await
    }

    /// Takes a device away from whoever has it.
    pub async fn deactivate_device(
        &self,
        permit: &Permit<iam::DeactivateMFADevice>,
        owner: &Owner,
        serial: &str,
    ) -> Result<()> {
        let account = account(permit);
        self.change(|| async {
            let (holder, guard) = self.mfa_holder(account, owner, permit.now()).await?;
            let mut row = self.owned(account, &holder, serial).await?;
            row.body.enabled_at = None;
            let mut change = recorded(permit, Value::Null);
            fence(&mut change, guard);
            change.put.push(row.put());
            change.unlink.push(Link { account, relation: Relation::HasMfa, from: holder, to: serial.to_owned() });
            Ok((change, ()))
        })
        .await
    }

    /// Finds out anew how far a device's clock is off. Ours takes no lasting offset; what counts is that the codes are
    /// right and that no older one counts from now on.
    pub async fn resync_device(
        &self,
        permit: &Permit<iam::ResyncMFADevice>,
        owner: &Owner,
        serial: &str,
        codes: [&str; 2],
    ) -> Result<()> {
        let account = account(permit);
        self.change(|| async {
            let (holder, _) = self.mfa_holder(account, owner, permit.now()).await?;
            let row = self.owned(account, &holder, serial).await?;
            self.two_codes(&row, codes, permit.now(), RESYNC_DRIFT)?;
            let mut change = recorded(permit, Value::Null);
            change.put.push(row.put());
            Ok((change, ()))
        })
        .await
    }

    /// Deletes a device that nobody has.
    pub async fn delete_device(&self, permit: &Permit<iam::DeleteVirtualMFADevice>, serial: &str) -> Result<()> {
        let account = account(permit);
        self.change(|| async {
            let row = self.device(account, serial).await?;
            if row.body.enabled_at.is_some() {
                return Err(Error::DeleteConflict("deactivate the MFA device"));
            }
            let mut change = recorded(permit, Value::Null);
            let version = row.entity.version;
            change.delete.push((row.entity, version));
            Ok((change, ()))
        })
        .await
    }

    /// The devices of a user or root.
    pub async fn devices_of(
        &self,
        permit: &Permit<iam::ListMFADevices>,
        owner: &Owner,
        at: &PageAt,
    ) -> Result<Page<Device>> {
        let account = account(permit);
        let (holder, _) = self.mfa_holder(account, owner, permit.now()).await?;
        let user = self.user_of(owner, account).await?;
        let mut devices = Vec::new();
        for serial in self.store().links_from(&account, Relation::HasMfa, &holder).await? {
            devices.push(Device { row: self.device(account, &serial).await?, user: user.clone() });
        }
        Ok(at.of_all(devices, |device| device.serial().to_owned()))
    }

    /// All virtual devices of the account.
    pub async fn virtual_devices(
        &self,
        permit: &Permit<iam::ListVirtualMFADevices>,
        assigned: Assigned,
        at: &PageAt,
    ) -> Result<Page<Device>> {
        let account = account(permit);
        let mut devices = Vec::new();
        for row in self.rows::<MfaDevice>(account, Kind::MfaDevice).await? {
            let enabled = row.body.enabled_at.is_some();
            let listed = match assigned {
                Assigned::Yes => enabled,
                Assigned::No => !enabled,
                Assigned::Any => true,
            };
            if listed {
                devices.push(self.with_user(row).await?);
            }
        }
        Ok(at.of_all(devices, |device| device.serial().to_owned()))
    }

    /// One device.
    pub async fn one_device(&self, permit: &Permit<iam::GetMFADevice>, serial: &str) -> Result<Device> {
        let row = self.device(account(permit), serial).await?;
        self.with_user(row).await
    }

    /// Gives labels.
    pub async fn tag_device(&self, permit: &Permit<iam::TagMFADevice>, serial: &str, tags: &[Tag]) -> Result<()> {
        self.relabel_device(permit, serial, |old| tags::merged(old, tags)).await
    }

    /// Takes labels away.
    pub async fn untag_device(
        &self,
        permit: &Permit<iam::UntagMFADevice>,
        serial: &str,
        keys: &[String],
    ) -> Result<()> {
        self.relabel_device(permit, serial, |old| Ok(tags::without(old, keys))).await
    }

    /// The labels.
    pub async fn device_tags(
        &self,
        permit: &Permit<iam::ListMFADeviceTags>,
        serial: &str,
        at: &PageAt,
    ) -> Result<Page<Tag>> {
        let row = self.device(account(permit), serial).await?;
        Ok(at.of_all(row.body.tags, |(key, _)| key.clone()))
    }

    async fn relabel_device<A: Action<Target = Resources>>(
        &self,
        permit: &Permit<A>,
        serial: &str,
        how: impl Fn(&[Tag]) -> Result<Vec<Tag>> + Sync,
    ) -> Result<()> {
        self.change(|| async {
            let mut row = self.device(account(permit), serial).await?;
            row.body.tags = how(&row.body.tags)?;
            let mut change = recorded(permit, Value::Null);
            change.put.push(row.put());
            Ok((change, ()))
        })
        .await
    }

    /// Whether a code is right: of a device of the caller's own, and used never before.
    pub async fn check_code(&self, caller: &Caller, serial: &str, code: &str, now: Timestamp) -> SessionResult<Proof> {
        let account = *caller.account();
        let holder = match caller.principal() {
            Principal::User { id, .. } => id.to_string(),
            Principal::Root { .. } => account.to_string(),
            _ => return Err(SessionError::Denied(NOT_OWN.into())),
        };
        let own = self.store().links_from(&account, Relation::HasMfa, &holder).await.map_err(Error::from)?;
        if !own.iter().any(|known| known == serial) {
            return Err(SessionError::Denied(NOT_OWN.into()));
        }
        let mut row = self.device(account, serial).await?;
        if !self.memory.tries.take(serial, totp::step(now)) {
            return Err(SessionError::Denied(WRONG.into()));
        }
        let seed = self.seed(&row)?;
        let step = totp::check(&seed, code, now, row.body.step_used);
        row.body.step_used = step.ok_or_else(|| SessionError::Denied(WRONG.into()))?;
        self.memory.tries.forgive(serial);
        Ok(Proof(row))
    }

    /// Commits what a code was spent for; if another was faster with it, nothing happens.
    pub(crate) async fn spend(&self, change: Change) -> SessionResult<()> {
        match self.store().change(change).await {
            Ok(()) => Ok(()),
            Err(meta::Error::Refused(Refusal::Changed)) => Err(SessionError::Denied(WRONG.into())),
            Err(error) => Err(error.into()),
        }
    }

    fn two_codes(&self, row: &Row<MfaDevice>, codes: [&str; 2], now: Timestamp, drift: u64) -> Result<u64> {
        let serial = &row.entity.place.key;
        if !self.memory.tries.take(serial, totp::step(now)) {
            return Err(Error::InvalidCode);
        }
        let seed = self.seed(row)?;
        let first = totp::find(&seed, codes[0], totp::step(now), drift, row.body.step_used);
        let second = first.filter(|step| totp::code(&seed, step + 1) == codes[1]).ok_or(Error::InvalidCode)? + 1;
        self.memory.tries.forgive(serial);
        Ok(second)
    }

    fn seed(&self, row: &Row<MfaDevice>) -> Result<Vec<u8>> {
        let opened = self.parts.mfa.open(&row.body.sealed, &row.entity.place.key);
        let seed = opened.and_then(|text| unbase32(&text));
        seed.ok_or_else(|| crate::damaged("the seed of an MFA device"))
    }

    async fn device(&self, account: AccountId, serial: &str) -> Result<Row<MfaDevice>> {
        let found = self.row(&key(account, Kind::MfaDevice, serial)).await?;
        found.ok_or_else(|| Error::NoDevice(serial.to_owned()))
    }

    async fn owned(&self, account: AccountId, holder: &str, serial: &str) -> Result<Row<MfaDevice>> {
        let own = self.store().links_from(&account, Relation::HasMfa, holder).await?;
        if !own.iter().any(|known| known == serial) {
            return Err(Error::NoDevice(serial.to_owned()));
        }
        self.device(account, serial).await
    }

    async fn with_user(&self, row: Row<MfaDevice>) -> Result<Device> {
        let account = row.entity.place.account;
        let holder = self.store().links_to(&account, Relation::HasMfa, &row.entity.place.key, "", 1).await?;
        let user = match holder.first() {
            Some(id) => self.by_id::<rows::User>(id).await?,
            None => None,
        };
        Ok(Device { row, user })
    }

    async fn user_of(&self, owner: &Owner, account: AccountId) -> Result<Option<Held<rows::User>>> {
        match owner {
            Owner::User(name) => Ok(Some(self.get(account, name).await?)),
            Owner::Root => Ok(None),
        }
    }

    /// Where the links to devices begin, and what must stand still while one is made.
    async fn mfa_holder(&self, account: AccountId, owner: &Owner, now: Timestamp) -> Result<(String, Fence)> {
        Ok(match owner {
            Owner::User(name) => {
                let held = self.get::<rows::User>(account, name).await?;
                (held.id().to_owned(), Fence::Guard(held.guard()))
            }
            Owner::Root => {
                let entity = self.account_row(account, now).await?.0;
                (entity.id.clone(), Fence::Put(entity))
            }
        })
    }
}

/// The owner of a device, for a change.
enum Fence {
    Guard((rows::EntityKey, i64)),
    /// The management account has no row at first.
    Put(Entity),
}

fn fence(change: &mut Change, fence: Fence) {
    match fence {
        Fence::Guard(guard) => change.guard.push(guard),
        Fence::Put(entity) => change.put.push(entity),
    }
}

/// RFC 4648, without padding; the text is one of ours.
fn unbase32(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut held, mut bits) = (Vec::with_capacity(text.len() * 5 / 8), 0u32, 0);
    for letter in text.bytes() {
        let value = BASE32.iter().position(|known| *known == letter)?;
        held = held << 5 | u32::try_from(value).ok()?;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base32() {
        assert_eq!(unbase32("MZXW6YTBOJTG633C").unwrap(), b"foobarfoob");
        assert_eq!(unbase32(""), Some(Vec::new()));
        assert_eq!(unbase32("mz"), None);
        assert_eq!(unbase32(&"A".repeat(64)).map(|bytes| bytes.len()), Some(40));
    }

    /// Guessing ends after a few wrong codes, and begins anew with the next step.
    #[test]
    fn tries() {
        let tries = Tries::default();
        for _ in 0..TRIES_MAX {
            assert!(tries.take("a", 7));
        }
        assert!(!tries.take("a", 7));
        assert!(tries.take("b", 7));
        assert!(tries.take("a", 8));
        tries.forgive("a");
        for _ in 0..TRIES_MAX {
            assert!(tries.take("a", 8));
        }
        assert!(!tries.take("a", 8));
    }
}
