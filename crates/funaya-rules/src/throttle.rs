//! Token buckets: how often an operation may be called (14-quotas-and-throttling).

use funaya_types::Timestamp;

/// A bucket's size and refill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Credits of a full bucket: the burst.
    pub burst: u32,
    /// Credits that come back in a second.
    pub per_second: u32,
}

impl Rate {
    /// What one of several servers gives, each of which counts for itself. Never nothing.
    #[must_use]
    pub fn shared(self, servers: u32) -> Self {
        let share = |whole: u32| whole.div_ceil(servers.max(1));
        Self { burst: share(self.burst), per_second: share(self.per_second) }
    }
}

/// The guide's rate of an ECR operation (QUOTA-03 to QUOTA-10, QUOTA-20); a
/// generous default for those without one (QUOTA-22).
pub fn rate(operation: &str) -> Rate {
    let even = |per_second| Rate { burst: per_second, per_second };
    match operation {
        "GetAuthorizationToken" => Rate { burst: 200, per_second: 20 },
        "BatchCheckLayerAvailability" => even(200),
        "InitiateLayerUpload" | "CompleteLayerUpload" | "PutImage" => even(10),
        "UploadLayerPart" => even(260),
        "BatchGetImage" => even(1_000),
        "GetDownloadUrlForLayer" => even(1_500),
        _ => even(1_000),
    }
}

/// A bucket of credits, counted in millionths.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    credits: u64,
    filled_at: Timestamp,
}

const CREDIT: u64 = 1_000_000;

impl Bucket {
    /// A full bucket.
    pub fn full(rate: Rate, now: Timestamp) -> Self {
        Self { credits: u64::from(rate.burst) * CREDIT, filled_at: now }
    }

    /// Takes one credit; false if there is none.
    pub fn take(&mut self, rate: Rate, now: Timestamp) -> bool {
        let elapsed = u64::try_from(now.micros().saturating_sub(self.filled_at.micros())).unwrap_or_default();
        let refill = elapsed.saturating_mul(u64::from(rate.per_second));
        self.credits = self.credits.saturating_add(refill).min(u64::from(rate.burst) * CREDIT);
        self.filled_at = self.filled_at.max(now);
        match self.credits.checked_sub(CREDIT) {
            Some(rest) => {
                self.credits = rest;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// QUOTA-20: 200 in one second from a full bucket, then 20 a second for ever.
    #[test]
    fn authorization_tokens() {
        let rate = rate("GetAuthorizationToken");
        let mut now = Timestamp::from_secs(1_000);
        let mut bucket = Bucket::full(rate, now);
        assert_eq!((0..300).filter(|_| bucket.take(rate, now)).count(), 200);
        for _ in 0..10 {
            now = now.plus(Duration::from_secs(1));
            assert_eq!((0..300).filter(|_| bucket.take(rate, now)).count(), 20);
        }
        assert_eq!((0..300).filter(|_| bucket.take(rate, Timestamp::from_secs(1))).count(), 0, "clock set back");
    }

    /// Two servers give together what one gives.
    #[test]
    fn servers_share() {
        let rate = rate("GetAuthorizationToken").shared(2);
        let now = Timestamp::from_secs(1_000);
        let mut buckets = [Bucket::full(rate, now); 2];
        let mut taken = |now| (0..600).filter(|n| buckets[n % 2].take(rate, now)).count();
        assert_eq!((taken(now), taken(now.plus(Duration::from_secs(1)))), (200, 20));
        assert_eq!(Rate { burst: 1, per_second: 1 }.shared(7), Rate { burst: 1, per_second: 1 });
    }
}
