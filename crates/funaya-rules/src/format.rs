//! The formats of manifests, and what a client says that it understands.

use crate::manifest::{DOCKER_LIST, DOCKER_V1, DOCKER_V1_SIGNED, DOCKER_V2, OCI_IMAGE, OCI_INDEX};

/// A format that manifests are pushed, stored and pulled in (MAN-01).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// Docker schema 1, signed or not.
    Schema1,
    /// Docker schema 2.
    Schema2,
    /// OCI image manifest.
    Oci,
    /// Docker manifest list.
    List,
    /// OCI image index.
    Index,
}

impl Format {
    /// The format that a media type names.
    pub fn of(media_type: &str) -> Option<Self> {
        let known = [
            (OCI_IMAGE, Self::Oci),
            (DOCKER_V2, Self::Schema2),
            (OCI_INDEX, Self::Index),
            (DOCKER_LIST, Self::List),
            (DOCKER_V1_SIGNED, Self::Schema1),
            (DOCKER_V1, Self::Schema1),
        ];
        known.into_iter().find(|(name, _)| media_type.eq_ignore_ascii_case(name)).map(|(_, format)| format)
    }

    /// The media type that a conversion to the format has.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Schema1 => DOCKER_V1_SIGNED,
            Self::Schema2 => DOCKER_V2,
            Self::Oci => OCI_IMAGE,
            Self::List => DOCKER_LIST,
            Self::Index => OCI_INDEX,
        }
    }

    /// What images of an index of this format are converted to; `None` if it is no index.
    pub fn of_children(self) -> Option<Self> {
        match self {
            Self::List => Some(Self::Schema2),
            Self::Index => Some(Self::Oci),
            Self::Schema1 | Self::Schema2 | Self::Oci => None,
        }
    }
}

/// A way to serve a client that does not understand what is stored (MAN-11, MAN-16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Convert to this format.
    To(Format),
    /// Take the `linux/amd64` image of the index instead.
    Platform,
}

/// The media types that a client accepts: `Accept`, or `acceptedMediaTypes` (MAN-04).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    ranges: Vec<Range>,
    /// Whether any of them is a format; else the client has no wish that could be met (MAN-15).
    names_a_format: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Range {
    text: String,
    quality: Quality,
}

/// A weight in thousandths; 0: not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Quality(u16);

const FULL: Quality = Quality(1000);
const NONE: Quality = Quality(0);

/// Ranges that are looked at; clients send a dozen.
const RANGES_MAX: usize = 100;

impl Accepted {
    /// Reads the values of `Accept` headers (RFC 9110, section 12.5.1).
    pub fn from_headers<'a>(values: impl Iterator<Item = &'a str>) -> Self {
        let texts = values.flat_map(|value| value.split(','));
        Self::new(texts.map(Range::parse).filter(|range| !range.text.is_empty()).take(RANGES_MAX).collect())
    }

    /// Takes a list of media types.
    pub fn from_media_types(texts: &[String]) -> Self {
        Self::new(texts.iter().map(|text| Range { text: text.clone(), quality: FULL }).collect())
    }

    /// What Docker 1.9 and older understand. They say nothing (MAN-12).
    pub fn schema_1_only() -> Self {
        Self::from_media_types(&[DOCKER_V1_SIGNED.into(), DOCKER_V1.into()])
    }

    fn new(ranges: Vec<Range>) -> Self {
        let names_a_format = ranges.iter().any(|range| Format::of(&range.text).is_some());
        Self { ranges, names_a_format }
    }

    /// The ranges without their parameters, in order: for the record.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.ranges.iter().map(|range| range.text.as_str())
    }

    /// Whether the client names any format of manifests.
    pub fn names_a_format(&self) -> bool {
        self.names_a_format
    }

    /// Whether the client understands a manifest of this media type (MAN-10, MAN-15).
    pub fn takes(&self, media_type: &str) -> bool {
        self.quality(media_type) > NONE || Format::of(media_type).is_some_and(|format| self.wish(format) > NONE)
    }

    /// How to serve a client that does not understand the stored format, best way first.
    pub fn ways(&self, stored: Format) -> Vec<Way> {
        let table: &[Format] = match stored {
            Format::Schema1 => &[],
            Format::Schema2 => &[Format::Oci, Format::Schema1],
            Format::Oci => &[Format::Schema2, Format::Schema1],
            Format::List => &[Format::Index],
            Format::Index => &[Format::List],
        };
        let mut targets: Vec<Format> = table.iter().copied().filter(|target| self.wish(*target) > NONE).collect();
        targets.sort_by_key(|target| std::cmp::Reverse(self.wish(*target)));
        let mut ways: Vec<Way> = targets.into_iter().map(Way::To).collect();
        if stored.of_children().is_some() {
            ways.push(Way::Platform);
        }
        ways
    }

    /// The two media types of schema 1 are one format: what understands one reads the other.
    fn wish(&self, format: Format) -> Quality {
        match format {
            Format::Schema1 => self.quality(DOCKER_V1_SIGNED).max(self.quality(DOCKER_V1)),
            other => self.quality(other.media_type()),
        }
    }

    /// The most specific range decides.
    fn quality(&self, media_type: &str) -> Quality {
        if !self.names_a_format {
            return FULL;
        }
        let of = |wanted: &str| {
            self.ranges.iter().find(|range| range.text.eq_ignore_ascii_case(wanted)).map(|range| range.quality)
        };
        of(media_type).or_else(|| of("application/*")).or_else(|| of("*/*")).unwrap_or(NONE)
    }
}

impl Range {
    fn parse(text: &str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let text = parts.next().unwrap_or_default().to_owned();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        Self { text, quality: weight.map_or(FULL, Quality::parse) }
    }
}

impl Quality {
    /// A weight that is none counts as 1: the client named the type, after all.
    fn parse(text: &str) -> Self {
        let weight: f32 = text.parse().unwrap_or(1.0);
        // In range after the clamp; the `as` of a NaN is 0.
        Self((weight.clamp(0.0, 1.0) * 1000.0) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &str) -> Accepted {
        Accepted::from_headers([value].into_iter())
    }

    /// MAN-15: who names no format gets what is stored.
    #[test]
    fn without_a_wish_everything_is_taken() {
        for value in ["", "*/*", "application/json", "application/*", "text/html, */*;q=0.8", "*/*;q=0", ",,"] {
            for media_type in [DOCKER_V1, DOCKER_V2, OCI_INDEX, "application/vnd.example"] {
                assert!(accept(value).takes(media_type), "{value} {media_type}");
            }
        }
        assert!(Accepted::from_media_types(&[]).takes(OCI_IMAGE));
    }

    /// MAN-10: the lists of real clients take what they can read as it is.
    #[test]
    fn lists_of_real_clients() {
        let docker_1_10 = format!("{DOCKER_V2}, {DOCKER_LIST}, {DOCKER_V1_SIGNED}, application/json");
        let containerd = format!("{DOCKER_V2}, {DOCKER_LIST}, {OCI_IMAGE}, {OCI_INDEX}, */*");
        let crane = format!("{DOCKER_V1},{DOCKER_V1_SIGNED},{DOCKER_V2},{OCI_IMAGE},{DOCKER_LIST},{OCI_INDEX}");
        let takes = |value: &str, media_types: &[&str]| media_types.iter().all(|text| accept(value).takes(text));
        assert!(takes(&docker_1_10, &[DOCKER_V1, DOCKER_V1_SIGNED, DOCKER_V2, DOCKER_LIST]));
        assert!(!accept(&docker_1_10).takes(OCI_IMAGE));
        assert!(takes(&containerd, &[DOCKER_V1, OCI_IMAGE, "application/vnd.oci.artifact.manifest.v1+json"]));
        assert!(takes(&crane, &[DOCKER_V1_SIGNED, OCI_IMAGE, OCI_INDEX]));
        // By digest, containerd names the one type and anything.
        assert!(takes(&format!("{OCI_IMAGE}, */*"), &[DOCKER_V2]));
    }

    /// RFC 9110: q=0 excludes, the more specific range wins, letter case is no matter.
    #[test]
    fn weights() {
        let value = format!("{DOCKER_V2};q=0, application/*;q=0.5, */*;q=0.1");
        assert!(!accept(&value).takes(DOCKER_V2));
        assert!(accept(&value).takes(OCI_IMAGE));
        assert!(accept(&DOCKER_V2.to_uppercase()).takes(DOCKER_V2));
        assert!(!accept(&format!("{DOCKER_V2}; Q=0.0")).takes(DOCKER_V2));
        assert!(accept(&format!("{DOCKER_V2};q=often")).takes(DOCKER_V2));
        let v1_first = accept(&format!("{DOCKER_V2};q=0.2, {DOCKER_V1_SIGNED};q=0.9"));
        assert_eq!(v1_first.ways(Format::Oci), [Way::To(Format::Schema1), Way::To(Format::Schema2)]);
    }

    /// MAN-11, MAN-14, MAN-16: the table.
    #[test]
    fn the_table_of_conversions() {
        let both = format!("{DOCKER_V2}, {DOCKER_V1_SIGNED}");
        let cases: [(&str, Format, &[Way]); 9] = [
            (DOCKER_V1_SIGNED, Format::Schema2, &[Way::To(Format::Schema1)]),
            (DOCKER_V1, Format::Oci, &[Way::To(Format::Schema1)]),
            (DOCKER_V2, Format::Schema1, &[]),
            (DOCKER_V2, Format::Oci, &[Way::To(Format::Schema2)]),
            (OCI_IMAGE, Format::Schema1, &[]),
            (OCI_IMAGE, Format::Schema2, &[Way::To(Format::Oci)]),
            (&both, Format::Oci, &[Way::To(Format::Schema2), Way::To(Format::Schema1)]),
            (DOCKER_LIST, Format::Index, &[Way::To(Format::List), Way::Platform]),
            (OCI_IMAGE, Format::List, &[Way::Platform]),
        ];
        for (value, stored, ways) in cases {
            assert_eq!(accept(value).ways(stored), ways, "{value} of {stored:?}");
        }
        assert!(accept(&both).takes(DOCKER_V1));
        assert!(!Accepted::schema_1_only().takes(DOCKER_V2));
    }
}
