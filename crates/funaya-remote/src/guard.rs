//! Which addresses may be called: a provider's URL is chosen by whoever may make providers, who must not reach
//! through us what only this machine can reach.

use std::net::{IpAddr, Ipv6Addr};

/// What a URL leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Aim {
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Path and query, beginning with `/`.
    pub(crate) path: String,
}

impl Aim {
    /// Reads a URL without user, fragment or odd characters. `plain`: whether `http:` is taken.
    pub(crate) fn parse(url: &str, plain: bool) -> Option<Self> {
        let uri: http::Uri = url.parse().ok()?;
        let tls = match uri.scheme_str()? {
            "https" => true,
            "http" if plain => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        if authority.as_str().contains('@') || url.contains('#') || host.is_empty() {
            return None;
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Some(Self { tls, host, port, path })
    }

    /// For the `Host` header.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

/// Whether an address is one that a provider may have. Private networks are: clusters have their providers there.
/// `loopback`: whether this machine is, which tests need.
pub(crate) fn is_callable(address: IpAddr, loopback: bool) -> bool {
    match address {
        IpAddr::V4(ip) => {
            let bad = ip.is_link_local() || ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast();
            !bad && ip.octets()[0] != 0 && (loopback || !ip.is_loopback())
        }
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => is_callable(IpAddr::V4(ip), loopback),
            None => {
                let bad = ip.is_unicast_link_local() || ip.is_unspecified() || ip.is_multicast();
                !bad && !is_metadata(ip) && (loopback || !ip.is_loopback())
            }
        },
    }
}

/// Where clouds tell machines their credentials, beside 169.254.169.254.
fn is_metadata(ip: Ipv6Addr) -> bool {
    ip == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let aim = |url: &str| Aim::parse(url, false);
        let found = aim("https://Token.example.com/id/1").unwrap();
        assert_eq!((found.host.as_str(), found.port, found.path.as_str()), ("token.example.com", 443, "/id/1"));
        assert_eq!(found.authority(), "token.example.com");
        assert_eq!(aim("https://[::1]:8443/").unwrap().authority(), "[::1]:8443");
        for bad in [
            "http://token.example.com",
            "ftp://x/",
            "https://user@token.example.com/",
            "token.example.com",
            "https:///x",
            "https://a/#b",
            "https://a b/",
            "file:///etc/passwd",
        ] {
            assert_eq!(aim(bad), None, "{bad}");
        }
        assert!(!Aim::parse("http://localhost:8000/x", true).unwrap().tls);
    }

    #[test]
    fn addresses() {
        let callable = |text: &str| is_callable(text.parse().unwrap(), false);
        for good in ["192.0.2.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "2001:db8::1", "fd00::1"] {
            assert!(callable(good), "{good}");
        }
        for bad in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "::ffff:127.0.0.1",
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "fe80::1",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "fd00:ec2::254",
        ] {
            assert!(!callable(bad), "{bad}");
        }
        assert!(is_callable("127.0.0.1".parse().unwrap(), true));
        assert!(is_callable("::1".parse().unwrap(), true));
        assert!(!is_callable("169.254.169.254".parse().unwrap(), true));
    }
}
