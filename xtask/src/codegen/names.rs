//! Names of Rust from names of AWS.

/// `imageIds` → `image_ids`, `SAMLProviderArn` → `saml_provider_arn`
pub fn snake(name: &str) -> String {
    let mut out = String::new();
    let (mut last, mut rest) = (None, name.chars().peekable());
    while let Some(c) = rest.next() {
        let before = last.is_some_and(|last: char| !last.is_ascii_uppercase());
        let after = last.is_some() && rest.peek().is_some_and(char::is_ascii_lowercase);
        if c.is_ascii_uppercase() && (before || after) {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
        last = Some(c);
    }
    out
}

/// A name that may be a word of Rust.
pub fn escaped(field: &str) -> String {
    if matches!(field, "type" | "match" | "ref" | "use") { format!("r#{field}") } else { field.into() }
}

/// `imageIds` → `IMAGE_IDS`
pub fn upper(name: &str) -> String {
    snake(name).to_ascii_uppercase()
}

/// `statusType` → `StatusType`
pub fn type_name(name: &str) -> String {
    match name.split_at_checked(1) {
        Some((first, rest)) => first.to_ascii_uppercase() + rest,
        None => String::new(),
    }
}

/// `IMMUTABLE_WITH_EXCLUSION` → `ImmutableWithExclusion`; words that are mixed already keep their capitals.
pub fn pascal(word: &str) -> String {
    let shouting = !word.chars().any(|c| c.is_ascii_lowercase());
    let parts = word.split(|c: char| !c.is_ascii_alphanumeric());
    let part = |part: &str| match part.split_at_checked(1) {
        Some((first, rest)) if shouting => first.to_owned() + &rest.to_ascii_lowercase(),
        Some((first, rest)) => first.to_ascii_uppercase() + rest,
        None => String::new(),
    };
    parts.map(part).collect()
}
