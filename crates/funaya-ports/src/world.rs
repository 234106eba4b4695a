//! Clock and randomness, so that a run can be replayed (D11, OVW-08).

use funaya_types::{StorageKey, Timestamp, UploadId};

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Now, UTC.
    fn now(&self) -> Timestamp;
}

/// Gives random bytes.
pub trait Random: Send + Sync {
    /// Fills the buffer with bytes that nobody can guess.
    fn fill(&self, buffer: &mut [u8]);

    /// A fresh UUID (version 4) as text.
    fn uuid(&self) -> String {
        self.upload_id().to_string()
    }

    /// A fresh upload id.
    fn upload_id(&self) -> UploadId {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        UploadId::from_random(bytes)
    }

    /// A fresh storage key (D2).
    fn storage_key(&self, now: Timestamp) -> StorageKey {
        let mut bytes = [0; 10];
        self.fill(&mut bytes);
        StorageKey::new(u64::try_from(now.micros() / 1000).unwrap_or_default(), bytes)
    }

    /// A fresh row id: 41 bits of milliseconds and 22 random bits, never zero.
    fn row_id(&self, now: Timestamp) -> i64 {
        let mut bytes = [0; 4];
        self.fill(&mut bytes);
        let millis = (now.micros() / 1000) & ((1 << 41) - 1);
        millis << 22 | i64::from(u32::from_le_bytes(bytes) & ((1 << 22) - 1)) | 1
    }
}
