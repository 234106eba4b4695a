//! Quotas: how much an account may hold and how often it may call (14-quotas-and-throttling).
//!
//! The defaults are ECR's. An operator may set others for all accounts, and for one account (QUOTA-26).

use std::collections::BTreeMap;

use funaya_types::{AccountId, limits};

use crate::throttle::{self, Rate};

/// Quotas that differ from ECR's; what is not set is as the level above has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Most repositories of a registry (QUOTA-01).
    pub repositories: Option<i64>,
    /// Most images of a repository (QUOTA-02).
    pub images: Option<i64>,
    /// Rates by operation (QUOTA-03 to QUOTA-10, QUOTA-22).
    pub rates: BTreeMap<String, Rate>,
}

/// The quotas of all accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    /// For all accounts.
    pub all: Own,
    /// For one.
    pub accounts: BTreeMap<AccountId, Own>,
}

impl Quotas {
    /// Most repositories of the account's registry in a Region.
    pub fn repositories(&self, account: &AccountId) -> i64 {
        self.find(account, |own| own.repositories).unwrap_or(limits::REPOSITORIES_MAX)
    }

    /// Most images of a repository of the account.
    pub fn images(&self, account: &AccountId) -> i64 {
        self.find(account, |own| own.images).unwrap_or(limits::IMAGES_MAX)
    }

    /// How often the account may call an operation in a Region.
    pub fn rate(&self, account: &AccountId, operation: &str) -> Rate {
        self.find(account, |own| own.rates.get(operation).copied()).unwrap_or_else(|| throttle::rate(operation))
    }

    fn find<T>(&self, account: &AccountId, get: impl Fn(&Own) -> Option<T>) -> Option<T> {
        self.accounts.get(account).and_then(&get).or_else(|| get(&self.all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// QUOTA-01, QUOTA-02, QUOTA-26: the account's own, then everybody's, then ECR's.
    #[test]
    fn the_nearest_counts() {
        let [mine, other] = ["111122223333", "444455556666"].map(|text| text.parse::<AccountId>().unwrap());
        let even = |per_second| Rate { burst: per_second, per_second };
        let mut quotas = Quotas::default();
        assert_eq!((quotas.repositories(&mine), quotas.images(&mine)), (10_000, 10_000));
        assert_eq!(quotas.rate(&mine, "PutImage"), even(10));
        quotas.all = Own { repositories: None, images: Some(5), rates: [("PutImage".into(), even(50))].into() };
        let own = Own { repositories: Some(3), images: None, rates: [("ListImages".into(), even(2))].into() };
        quotas.accounts.insert(mine, own);
        assert_eq!((quotas.repositories(&mine), quotas.images(&mine)), (3, 5));
        assert_eq!((quotas.repositories(&other), quotas.images(&other)), (10_000, 5));
        assert_eq!((quotas.rate(&mine, "PutImage"), quotas.rate(&mine, "ListImages")), (even(50), even(2)));
        assert_eq!(quotas.rate(&other, "ListImages"), even(1_000));
    }
}
