//! Where a cluster is and which one it is: `symbolon://host:port,host:port,…?genesis=<64 hex>` (custody.md, "Roster,
//! membership, epochs"). Without the hash there is no address: nobody is trusted on first use.

use crate::error::Error;
use crate::limits::HOSTS_MAX;
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use symbolon_crypto::Hash;
use symbolon_wire::Code;

const SCHEME: &str = "symbolon://";
const GENESIS: &str = "genesis=";

/// Longest DNS name, bytes (RFC 1035, 2.3.4).
const HOST_BYTES_MAX: usize = 253;

/// Why a text is no address of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadEndpoint {
    /// Another scheme.
    #[error("an address begins with '{SCHEME}'")]
    Scheme,
    /// No hash.
    #[error("the address has no '?genesis=<64 hex>': without the hash of its genesis no cluster is trusted")]
    NoGenesis,
    /// A query other than the hash.
    #[error("the address has more than '?genesis=<64 hex>' behind its hosts")]
    Query,
    /// Not 32 bytes in lower-case hex.
    #[error("the genesis hash is not 64 lower-case hex digits")]
    Genesis,
    /// None, or too many.
    #[error("the address has {found} hosts; 1 to {HOSTS_MAX} are possible")]
    Hosts {
        /// How many.
        found: usize,
    },
    /// Neither a name nor an IP address.
    #[error("'{host}' is neither a name in lower case nor an IP address (IPv6 in brackets)")]
    Host {
        /// As written.
        host: String,
    },
    /// No port, or none from 1 to 65535.
    #[error("'{host}' has no port from 1 to 65535")]
    Port {
        /// As written.
        host: String,
    },
    /// The same twice.
    #[error("'{host}' stands twice")]
    Twice {
        /// As written.
        host: String,
    },
}

impl From<BadEndpoint> for Error {
    fn from(bad: BadEndpoint) -> Self {
        Self::new(Code::Local, bad.to_string())
            .next("use the address that `symbolon init check` prints of the genesis roster")
    }
}

/// The address of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    hosts: Vec<String>,
    genesis: Hash,
}

impl Endpoint {
    /// Parses an address, strictly.
    ///
    /// # Errors
    /// [`BadEndpoint`], by defect.
    pub fn parse(text: &str) -> Result<Self, BadEndpoint> {
        let rest = text.strip_prefix(SCHEME).ok_or(BadEndpoint::Scheme)?;
        let (hosts, query) = rest.split_once('?').ok_or(BadEndpoint::NoGenesis)?;
        let hash = query.strip_prefix(GENESIS).ok_or(BadEndpoint::NoGenesis)?;
        if hash.contains(['&', '#', '?', ';']) {
            return Err(BadEndpoint::Query);
        }
        if hash.contains(|c: char| c.is_ascii_uppercase()) {
            return Err(BadEndpoint::Genesis);
        }
        let mut genesis = [0; 32];
        hex::decode_to_slice(hash, &mut genesis).map_err(|_| BadEndpoint::Genesis)?;
        let found = hosts.split(',').filter(|host| !host.is_empty()).count();
        if found == 0 || hosts.split(',').count() > HOSTS_MAX {
            return Err(BadEndpoint::Hosts {
                found: if found == 0 { 0 } else { hosts.split(',').count() },
            });
        }
        let mut parsed: Vec<String> = Vec::with_capacity(found);
        for host in hosts.split(',') {
            check_host(host)?;
            if parsed.iter().any(|earlier| earlier == host) {
                return Err(BadEndpoint::Twice { host: host.to_owned() });
            }
            parsed.push(host.to_owned());
        }
        Ok(Self { hosts: parsed, genesis })
    }

    /// Its `host:port`s, in the order written.
    #[must_use]
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// The pinned hash of the genesis roster.
    #[must_use]
    pub fn genesis(&self) -> &Hash {
        &self.genesis
    }
}

fn check_host(text: &str) -> Result<(), BadEndpoint> {
    let bad_port = || BadEndpoint::Port { host: text.to_owned() };
    let bad_host = || BadEndpoint::Host { host: text.to_owned() };
    let (host, port) = text.rsplit_once(':').ok_or_else(bad_port)?;
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && !port.starts_with('0');
    if !digits || port.parse::<u16>().is_err() {
        return Err(bad_port());
    }
    if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().map(|_| ()).map_err(|_| bad_host());
    }
    let label = |label: &str| {
        let ends = [label.bytes().next(), label.bytes().last()];
        let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| alphanumeric(b) || b == b'-')
            && ends.into_iter().flatten().all(alphanumeric)
    };
    if host.len() > HOST_BYTES_MAX || !host.split('.').all(label) {
        return Err(bad_host());
    }
    Ok(())
}

impl FromStr for Endpoint {
    type Err = BadEndpoint;

    fn from_str(text: &str) -> Result<Self, BadEndpoint> {
        Self::parse(text)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{SCHEME}{}?{GENESIS}{}",
            self.hosts.join(","),
            hex::encode(self.genesis)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(hosts: &str) -> String {
        format!("symbolon://{hosts}?genesis={}", "0a".repeat(32))
    }

    #[test]
    fn an_address_comes_back_as_it_was_written() {
        let text = with("node-1.example:7601,127.0.0.1:7602,[::1]:7603");
        let endpoint = Endpoint::parse(&text).unwrap();
        assert_eq!(
            endpoint.hosts(),
            ["node-1.example:7601", "127.0.0.1:7602", "[::1]:7603"]
        );
        assert_eq!(endpoint.genesis(), &[0x0a; 32]);
        assert_eq!(endpoint.to_string(), text);
    }

    #[test]
    fn an_address_without_the_genesis_hash_is_refused() {
        for text in ["symbolon://a:1", "symbolon://a:1?", "symbolon://a:1?gen=00"] {
            assert_eq!(Endpoint::parse(text), Err(BadEndpoint::NoGenesis), "{text}");
        }
    }

    #[test]
    fn bad_addresses_are_refused_by_defect() {
        let host = |host: &str| BadEndpoint::Host { host: host.to_owned() };
        let port = |host: &str| BadEndpoint::Port { host: host.to_owned() };
        let hash = "0a".repeat(32);
        let many = (0..=HOSTS_MAX).map(|i| format!("h{i}:1")).collect::<Vec<_>>().join(",");
        let cases = [
            (
                "another scheme",
                format!("https://a:1?genesis={hash}"),
                BadEndpoint::Scheme,
            ),
            ("no hosts", with(""), BadEndpoint::Hosts { found: 0 }),
            (
                "too many hosts",
                with(&many),
                BadEndpoint::Hosts { found: HOSTS_MAX + 1 },
            ),
            ("an empty host", with("a:1,,b:2"), port("")),
            ("no port", with("a"), port("a")),
            ("port 0", with("a:0"), port("a:0")),
            ("port with leading zero", with("a:01"), port("a:01")),
            ("port too high", with("a:65536"), port("a:65536")),
            ("signed port", with("a:+1"), port("a:+1")),
            ("user", with("root@a:1"), host("root@a:1")),
            ("path", with("a/b:1"), host("a/b:1")),
            ("capitals", with("A:1"), host("A:1")),
            ("bare IPv6", with("::1:7601"), host("::1:7601")),
            ("empty label", with("a..b:1"), host("a..b:1")),
            ("label with a hyphen at its end", with("a-:1"), host("a-:1")),
            (
                "the same host twice",
                with("a:1,a:1"),
                BadEndpoint::Twice { host: "a:1".to_owned() },
            ),
            (
                "short hash",
                "symbolon://a:1?genesis=0a".to_owned(),
                BadEndpoint::Genesis,
            ),
            (
                "hash in capitals",
                format!("symbolon://a:1?genesis={}", "0A".repeat(32)),
                BadEndpoint::Genesis,
            ),
            (
                "more in the query",
                format!("symbolon://a:1?genesis={hash}&x=1"),
                BadEndpoint::Query,
            ),
            (
                "fragment",
                format!("symbolon://a:1?genesis={hash}#x"),
                BadEndpoint::Query,
            ),
        ];
        for (name, text, defect) in cases {
            assert_eq!(Endpoint::parse(&text), Err(defect), "{name}");
        }
    }
}
