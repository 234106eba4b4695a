//! One-time codes by time (RFC 6238 over RFC 4226): SHA-1, six digits, steps of 30 seconds, as authenticator apps
//! have them. SHA-1 is what the apps speak; its use in HMAC is sound.

use aws_lc_rs::hmac;
use funaya_types::Timestamp;

const STEP_S: i64 = 30;
const DIGITS: u32 = 6;
/// Steps by which a device's clock may be off.
const DRIFT: u64 = 1;

/// The step of a time.
pub(crate) fn step(now: Timestamp) -> u64 {
    u64::try_from(now.secs().div_euclid(STEP_S)).unwrap_or_default()
}

/// The code of a step.
pub(crate) fn code(secret: &[u8], step: u64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let at = usize::from(tag[tag.len() - 1] & 0x0f);
    let number = u32::from_be_bytes([tag[at] & 0x7f, tag[at + 1], tag[at + 2], tag[at + 3]]);
    format!("{:0width$}", number % 10_u32.pow(DIGITS), width = DIGITS as usize)
}

/// The step whose code this is, around `around`, if it is newer than `used`.
pub(crate) fn find(secret: &[u8], given: &str, around: u64, drift: u64, used: u64) -> Option<u64> {
    let steps = around.saturating_sub(drift)..=around + drift;
    // All are compared, and each in constant time.
    let mut found = None;
    for step in steps.filter(|step| *step > used) {
        let same = aws_lc_rs::constant_time::verify_slices_are_equal(code(secret, step).as_bytes(), given.as_bytes());
        if same.is_ok() {
            found = Some(step);
        }
    }
    found
}

/// As [`find`], within the drift that is allowed.
pub(crate) fn check(secret: &[u8], given: &str, now: Timestamp, used: u64) -> Option<u64> {
    find(secret, given, step(now), DRIFT, used)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, to six digits.
    #[test]
    fn vectors() {
        let secret = b"12345678901234567890";
        let cases = [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ];
        for (secs, want) in cases {
            assert_eq!(code(secret, step(Timestamp::from_secs(secs))), want);
        }
    }

    /// IAM-11: no code counts twice, and none that is too old or too new.
    #[test]
    fn once() {
        let (secret, now) = (b"12345678901234567890", Timestamp::from_secs(1_111_111_111));
        let here = step(now);
        assert_eq!(check(secret, &code(secret, here), now, 0), Some(here));
        assert_eq!(check(secret, &code(secret, here - 1), now, 0), Some(here - 1));
        assert_eq!(check(secret, &code(secret, here), now, here), None);
        assert_eq!(check(secret, &code(secret, here - 1), now, here), None);
        assert_eq!(check(secret, &code(secret, here - 2), now, 0), None);
        assert_eq!(check(secret, &code(secret, here + 2), now, 0), None);
        assert_eq!(check(secret, "", now, 0), None);
    }
}
