//! Byte ranges of blobs (RFC 9110, section 14) and of upload chunks.

/// What part of a blob a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of it: no range, or one that is to be ignored.
    Whole,
    /// From `first` to `last`, both included.
    Part { first: u64, last: u64 },
    /// Nothing that the blob has.
    Unsatisfiable,
}

/// Reads a `Range` header for a blob of `size` bytes. Several ranges at once are
/// answered with the whole, as RFC 9110 allows.
pub(crate) fn wanted(header: Option<&str>, size: u64) -> Wanted {
    let Some(spec) = header.and_then(|text| text.trim().strip_prefix("bytes=")) else { return Wanted::Whole };
    if spec.contains(',') {
        return Wanted::Whole;
    }
    let Some((first, last)) = spec.trim().split_once('-') else { return Wanted::Whole };
    match (number(first), number(last)) {
        (Some(first), _) if first >= size => Wanted::Unsatisfiable,
        (Some(first), Some(last)) if last < first => Wanted::Unsatisfiable,
        (Some(first), Some(last)) => Wanted::Part { first, last: last.min(size - 1) },
        (Some(first), None) if last.is_empty() => Wanted::Part { first, last: size - 1 },
        (None, Some(0)) if first.is_empty() => Wanted::Unsatisfiable,
        (None, Some(_)) if first.is_empty() && size == 0 => Wanted::Unsatisfiable,
        (None, Some(length)) if first.is_empty() => Wanted::Part { first: size.saturating_sub(length), last: size - 1 },
        _ => Wanted::Whole,
    }
}

/// Reads a chunk's `Content-Range`: `first-last`, with or without `bytes` and total.
pub(crate) fn chunk(header: &str) -> Option<(u64, u64)> {
    let text = header.trim();
    let text = text.strip_prefix("bytes").map_or(text, |rest| rest.trim_start_matches(['=', ' ']));
    let text = text.split_once('/').map_or(text, |(range, _)| range);
    let (first, last) = text.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let part = |first, last| Wanted::Part { first, last };
        let cases = [
            (None, Wanted::Whole),
            (Some("bytes=0-0"), part(0, 0)),
            (Some("bytes=500-"), part(500, 999)),
            (Some("bytes=-1"), part(999, 999)),
            (Some("bytes=-5000"), part(0, 999)),
            (Some("bytes=900-5000"), part(900, 999)),
            (Some("bytes=1000-"), Wanted::Unsatisfiable),
            (Some("bytes=500-0"), Wanted::Unsatisfiable),
            (Some("bytes=-0"), Wanted::Unsatisfiable),
            (Some("bytes=0-1,5-6"), Wanted::Whole),
            (Some("bytes=a-b"), Wanted::Whole),
            (Some("bytes=99999999999999999999-"), Wanted::Whole),
            (Some("lines=1-2"), Wanted::Whole),
        ];
        for (header, want) in cases {
            assert_eq!(wanted(header, 1000), want, "{header:?}");
        }
        assert_eq!(wanted(Some("bytes=0-"), 0), Wanted::Unsatisfiable);
    }

    #[test]
    fn chunks() {
        assert_eq!(chunk("0-99"), Some((0, 99)));
        assert_eq!(chunk("bytes 0-99/*"), Some((0, 99)));
        assert_eq!(chunk("bytes=5-5"), Some((5, 5)));
        for bad in ["", "5", "9-5", "a-b", "-5", "5-"] {
            assert_eq!(chunk(bad), None, "{bad}");
        }
    }
}
