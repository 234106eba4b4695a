//! Secrets of the gate, all derived from the server's root key, so that every
//! replica with that key opens what another has sealed.

use std::sync::Arc;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use funaya_ports::Random;
use funaya_types::{AccountId, Secret};

const NONCE: usize = 12;
/// What the secrets of access keys are sealed for; bound to the key's id.
pub const ACCESS_KEYS: &str = "access keys";

/// The account root's access key.
#[derive(Clone, Debug)]
pub struct RootAccessKey {
    /// Whose it is.
    pub account: AccountId,
    /// The public half.
    pub id: String,
    /// The secret half.
    pub secret: Secret,
}

/// Seals short texts for clients to carry: registry tokens, paging tokens.
///
/// The sealed form is URL-safe base64 without padding, so it holds no `:` and no blank.
#[derive(Clone)]
pub struct Sealer {
    key: Arc<LessSafeKey>,
    random: Arc<dyn Random>,
}

struct Length32;

impl hkdf::KeyType for Length32 {
    fn len(&self) -> usize {
        32
    }
}

/// 32 bytes derived from the root key for one purpose.
pub fn derive(root_key: &[u8; 32], purpose: &str) -> [u8; 32] {
    let mut raw = [0; 32];
    let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"funaya gate").extract(root_key);
    let info = [purpose.as_bytes()];
    // 32 bytes are always within HKDF's limit, so this can't fail.
    let filled = root.expand(&info, Length32).and_then(|okm| okm.fill(&mut raw));
    debug_assert!(filled.is_ok());
    raw
}

impl Sealer {
    /// A sealer for one purpose; texts of another purpose don't open.
    pub fn new(root_key: &[u8; 32], purpose: &str, random: Arc<dyn Random>) -> Option<Self> {
        let key = UnboundKey::new(&AES_256_GCM, &derive(root_key, purpose)).ok()?;
        Some(Self { key: Arc::new(LessSafeKey::new(key)), random })
    }

    /// Seals a text; `binding` must be given again to open it.
    pub fn seal(&self, text: &str, binding: &str) -> String {
        let mut nonce = [0; NONCE];
        self.random.fill(&mut nonce);
        let mut sealed = text.as_bytes().to_vec();
        let aad = Aad::from(binding.as_bytes());
        // Fails only beyond 64 GiB.
        let done = self.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed);
        debug_assert!(done.is_ok());
        let mut out = nonce.to_vec();
        out.append(&mut sealed);
        URL_SAFE_NO_PAD.encode(out)
    }

    /// Opens a sealed text; `None` if it is not one of ours.
    pub fn open(&self, sealed: &str, binding: &str) -> Option<String> {
        let raw = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, sealed) = raw.split_at_checked(NONCE)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let plain = self.key.open_in_place(nonce, Aad::from(binding.as_bytes()), &mut sealed).ok()?;
        String::from_utf8(plain.to_vec()).ok()
    }
}
