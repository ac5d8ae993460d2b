//! Texts that people and programs write: paths, names, policies, configurations, addresses.

use symbolon_client::Endpoint;
use symbolon_policy::{Action, Context, Local, PolicySet, Principal, PrincipalKind, Request, Resource, Source};
use symbolon_wire::path::{PATH_BYTES_MAX, Path, SpiffeId};

/// Paths, SPIFFE IDs and endpoints.
pub(crate) fn path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(path) = Path::parse(text) {
        assert_eq!(path.as_str(), text, "one spelling");
        assert!(text.len() <= PATH_BYTES_MAX && text.is_ascii() && text == text.to_ascii_lowercase());
        let segments: Vec<&str> = text.split('/').collect();
        assert!(
            segments.iter().all(|one| !matches!(*one, "" | "." | "..")),
            "segments have names"
        );
        let (folder, name) = path.split();
        assert_eq!(path.folders().last().unwrap_or(""), folder);
        assert!(folder.is_empty() && name == text || format!("{folder}/{name}") == text);
        assert!(
            folder.is_empty() || Path::parse(folder).is_ok(),
            "the folder of a path is a path"
        );
    }
    if let Ok(id) = SpiffeId::parse(text) {
        assert_eq!(id.as_str(), text, "one spelling");
        assert!(
            Path::parse(text.trim_start_matches("spiffe://")).is_ok(),
            "the same grammar"
        );
    }
    if let Ok(endpoint) = Endpoint::parse(text) {
        assert!(!endpoint.hosts().is_empty(), "an endpoint names a node");
    }
}

/// Longest policy text that is tried: the check costs about 0.3 ms a policy.
const POLICY_BYTES: usize = 4 * 1024;

/// Policies: what is accepted decides without failing, alike each time, and an error is never a permit.
pub(crate) fn policy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if text.len() > POLICY_BYTES {
        return;
    }
    let sources: Vec<Source> = (0..)
        .zip(text.split('\0'))
        .map(|(number, text)| Source {
            name: format!("policies/{number}.cedar"),
            text: text.to_owned(),
        })
        .collect();
    let Ok(set) = PolicySet::compile(&sources) else { return };
    let again = PolicySet::compile(&sources).expect("what is accepted once is accepted again");
    assert_eq!(set.hash(), again.hash());
    assert_eq!(set.policies().count(), set.len());
    let groups = ["testers".to_owned()];
    for (action, path) in [(Action::Read, "prod/stripe/key"), (Action::Write, "a/b")] {
        for local in [false, true] {
            let request = Request {
                principal: Principal {
                    kind: PrincipalKind::Agent,
                    id: &[7; 16],
                    name: "spiffe://acme/bot",
                    groups: &groups,
                    owner: "ops@acme",
                    purpose: "billing",
                },
                action,
                resource: Resource::Secret { tenant: "acme", path },
                context: Context {
                    log_time_ms: 1_800_000_000_000,
                    local: local.then_some(Local {
                        time_ms: 1_800_000_000_000,
                        source: [10, 0, 0, 7].into(),
                        region: Some("eu"),
                        tls_group: "X25519MLKEM768",
                        client_key: &[9; 32],
                    }),
                    cas: local.then_some(true),
                },
            };
            let decision = set.decide(&request);
            assert_eq!(decision.inputs_digest(), again.decide(&request).inputs_digest());
            assert_eq!(
                decision.allowed(),
                again.decide(&request).allowed(),
                "a decision is the same each time"
            );
            assert!(!decision.allowed() || decision.errors().is_empty(), "an error denies");
            assert!(
                !(decision.allowed() && set.is_empty()),
                "nobody may do what no policy permits"
            );
            let _ = decision.explain();
        }
    }
}

#[cfg(feature = "node")]
/// A node's configuration: what is accepted is shown as a configuration that is accepted.
pub(crate) fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let file = std::path::Path::new("/etc/symbolon/node.toml");
    let Ok(shown) = symbolon_node::check_config(file, text) else {
        return;
    };
    let again = symbolon_node::check_config(file, &shown);
    assert!(again.is_ok(), "what is in force is a configuration: {again:?}\n{shown}");
}
