//! Proxies whose word is taken for where a request comes from.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Addresses with a common prefix, such as `10.0.0.0/8`; an address alone is itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    /// `None` if the text is no network.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u32>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().ok()?;
        let prefix_max = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(prefix_max);
        (prefix <= prefix_max).then_some(Self { address, prefix })
    }

    fn contains(&self, other: IpAddr) -> bool {
        let (ours, theirs, bits) = match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
            _ => return false,
        };
        // Shifting by all 128 bits is no shift.
        (ours ^ theirs).checked_shr(bits - self.prefix).unwrap_or(0) == 0
    }
}

/// Where a request comes from, and whether it came over TLS. `peer` and `tls`: of the connection.
pub(crate) fn origin(trusted: &[Network], peer: IpAddr, tls: bool, headers: &HeaderMap) -> (IpAddr, bool) {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let peer = peer.to_canonical();
    if !is_trusted(peer) {
        return (peer, tls);
    }
    let proto = headers.get(&FORWARDED_PROTO).and_then(|value| value.to_str().ok());
    let secure = proto.map_or(tls, |proto| proto.trim().eq_ignore_ascii_case("https"));
    let lists = headers.get_all(&FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let hops: Vec<&str> = lists.flat_map(|list| list.split(',')).map(str::trim).collect();
    // Each proxy adds whom it heard from; the first from the end that is none of ours is the client.
    let mut source = peer;
    for hop in hops.iter().rev() {
        let Ok(address) = hop.parse::<IpAddr>() else { break };
        source = address.to_canonical();
        if !is_trusted(source) {
            break;
        }
    }
    (source, secure)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| Network::parse(text).unwrap()).collect()
    }

    #[test]
    fn networks() {
        for (network, address, want) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", false),
        ] {
            assert_eq!(
                Network::parse(network).unwrap().contains(address.parse().unwrap()),
                want,
                "{network} {address}"
            );
        }
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "a/8"] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }

    /// IAM-51: `aws:SourceIp` and `aws:SecureTransport` behind proxies; a stranger's headers mean nothing.
    #[test]
    fn only_trusted_proxies_are_believed() {
        let trusted = trusted(&["127.0.0.1", "10.0.0.0/8"]);
        let ask = |peer: &str, forwarded: &str, proto: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(FORWARDED_FOR, forwarded.parse().unwrap());
            headers.insert(FORWARDED_PROTO, proto.parse().unwrap());
            let (address, secure) = origin(&trusted, peer.parse().unwrap(), false, &headers);
            (address.to_string(), secure)
        };
        assert_eq!(ask("198.51.100.9", "203.0.113.5", "https"), ("198.51.100.9".into(), false));
        assert_eq!(ask("127.0.0.1", "203.0.113.5", "https"), ("203.0.113.5".into(), true));
        assert_eq!(ask("127.0.0.1", "1.1.1.1, 203.0.113.5, 10.1.1.1", "http"), ("203.0.113.5".into(), false));
        assert_eq!(ask("127.0.0.1", "10.1.1.1", "http"), ("10.1.1.1".into(), false));
        assert_eq!(ask("::ffff:127.0.0.1", "nonsense, 203.0.113.5", "https"), ("203.0.113.5".into(), true));
        assert_eq!(ask("127.0.0.1", "203.0.113.5, nonsense", "https"), ("127.0.0.1".into(), true));
    }
}
