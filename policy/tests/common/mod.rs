//! A request with every field filled, of which a test changes what it is about.
#![allow(dead_code, clippy::panic, reason = "helpers of tests; each file uses a part")]

use std::net::IpAddr;

use symbolon_policy::{
    Action, CompileError, Context, Decision, Local, PolicySet, Principal, PrincipalKind, Request, Resource, Source,
};

pub(crate) const KINDS: [PrincipalKind; 5] = [
    PrincipalKind::Agent,
    PrincipalKind::Workload,
    PrincipalKind::Operator,
    PrincipalKind::Gateway,
    PrincipalKind::Node,
];

#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalFacts {
    pub(crate) time_ms: u64,
    pub(crate) source: IpAddr,
    pub(crate) region: Option<&'static str>,
    pub(crate) tls_group: &'static str,
    pub(crate) client_key: [u8; 32],
}

/// 20 November 2026 (a Friday), 12:00 UTC.
pub(crate) const NOON_MS: u64 = 1_795_176_000_000;

pub(crate) fn noon() -> Option<LocalFacts> {
    Some(LocalFacts {
        time_ms: NOON_MS,
        source: IpAddr::from([10, 0, 0, 7]),
        region: Some("eu"),
        tls_group: "X25519MLKEM768",
        client_key: [9; 32],
    })
}

/// 03:12 of the same day.
pub(crate) fn night() -> Option<LocalFacts> {
    noon().map(|local| LocalFacts {
        time_ms: NOON_MS - (8 * 60 + 48) * 60_000,
        ..local
    })
}

#[derive(Clone, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) kind: PrincipalKind,
    pub(crate) id: [u8; 16],
    pub(crate) name: &'a str,
    pub(crate) groups: &'a [&'a str],
    pub(crate) owner: &'a str,
    pub(crate) purpose: &'a str,
    pub(crate) action: Action,
    pub(crate) tenant: &'a str,
    /// Of the secret that is asked for, unless `resource` is given.
    pub(crate) path: &'a str,
    pub(crate) resource: Option<Resource<'a>>,
    pub(crate) log_time_ms: u64,
    /// Of a write.
    pub(crate) cas: Option<bool>,
    pub(crate) local: Option<LocalFacts>,
}

impl Default for Ask<'_> {
    fn default() -> Self {
        Self {
            kind: PrincipalKind::Agent,
            id: [7; 16],
            name: "spiffe://acme/billing-bot",
            groups: &[],
            owner: "ops@acme",
            purpose: "billing",
            action: Action::Read,
            tenant: "acme",
            path: "prod/stripe/key",
            resource: None,
            log_time_ms: NOON_MS,
            cas: Some(false),
            local: noon(),
        }
    }
}

impl Ask<'_> {
    pub(crate) fn with<T>(&self, use_request: impl FnOnce(&Request<'_>) -> T) -> T {
        let groups: Vec<String> = self.groups.iter().map(|group| (*group).to_owned()).collect();
        use_request(&Request {
            principal: Principal {
                kind: self.kind,
                id: &self.id,
                name: self.name,
                groups: &groups,
                owner: self.owner,
                purpose: self.purpose,
            },
            action: self.action,
            resource: self.resource.unwrap_or(Resource::Secret {
                tenant: self.tenant,
                path: self.path,
            }),
            context: Context {
                log_time_ms: self.log_time_ms,
                cas: self.cas,
                local: self.local.as_ref().map(|local| Local {
                    time_ms: local.time_ms,
                    source: local.source,
                    region: local.region,
                    tls_group: local.tls_group,
                    client_key: &local.client_key,
                }),
            },
        })
    }

    pub(crate) fn of(&self, set: &PolicySet) -> Decision {
        self.with(|request| set.decide(request))
    }
}

pub(crate) fn source(text: &str) -> Source {
    Source {
        name: "policies/test.cedar".to_owned(),
        text: text.to_owned(),
    }
}

pub(crate) fn compile(text: &str) -> PolicySet {
    match PolicySet::compile(&[source(text)]) {
        Ok(set) => set,
        Err(error) => panic!("refused: {error}"),
    }
}

pub(crate) fn refusal(text: &str) -> CompileError {
    match PolicySet::compile(&[source(text)]) {
        Ok(set) => panic!("accepted: {set:?}"),
        Err(error) => error,
    }
}
