//! Slicing changes nothing: over random sets and requests, the sliced decision is the one that evaluating every policy gives.
//!
//! The other side is independent: Cedar alone, over the whole texts, with entities written as JSON from the schema's words
//! (folders and groups included, parents one step at a time) and checked against the schema, requests too.

#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use cedar_policy::{Authorizer, Context, Decision, Effect, Entities, EntityUid, PolicySet as Whole, Request, Schema};
use common::{Ask, KINDS, LocalFacts, noon, source};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};
use symbolon_policy::{Action, DecisionError, PolicySet, Reason, Resource, SCHEMA_TEXT};

/// What all nodes decide from the log, said here a second time.
const APPLIED: [Action; 5] = [
    Action::Write,
    Action::WriteMetadata,
    Action::Delete,
    Action::Undelete,
    Action::Destroy,
];

const NAMES: [&str; 3] = ["spiffe://acme/a", "spiffe://acme/b", "*"];
const GROUPS: [&str; 3] = ["billing", "ops", "spiffe://acme/a"];
const PATHS: [&str; 8] = [
    "prod",
    "production",
    "prod/stripe",
    "prod/stripe/key",
    "prod/key",
    "test",
    "test/prod",
    "a/b/c/d",
];
const TENANTS: [&str; 2] = ["acme", "prod"];

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::from_cedarschema_str(SCHEMA_TEXT).expect("valid").0);

fn principal_scope() -> impl Strategy<Value = String> {
    let kind = || select(vec!["Agent", "Workload", "Operator", "Gateway", "Node"]);
    prop_oneof![
        2 => Just("principal".to_owned()),
        2 => kind().prop_map(|kind| format!("principal is {kind}")),
        2 => (kind(), select(NAMES.to_vec())).prop_map(|(kind, name)| format!("principal == {kind}::{name:?}")),
        1 => (kind(), select(NAMES.to_vec())).prop_map(|(kind, name)| format!("principal in {kind}::{name:?}")),
        3 => select(GROUPS.to_vec()).prop_map(|group| format!("principal in Group::{group:?}")),
        1 => (kind(), select(GROUPS.to_vec())).prop_map(|(kind, group)| format!("principal is {kind} in Group::{group:?}")),
    ]
}

fn action_scope() -> impl Strategy<Value = String> {
    let names: Vec<&str> = Action::ALL.iter().map(|action| action.name()).collect();
    let many = names.clone();
    prop_oneof![
        2 => Just("action".to_owned()),
        4 => select(names).prop_map(|name| format!("action == Action::{name:?}")),
        2 => subsequence(many, 1..5).prop_map(|names| {
            let uids: Vec<String> = names.iter().map(|name| format!("Action::{name:?}")).collect();
            format!("action in [{}]", uids.join(", "))
        }),
    ]
}

fn resource_scope() -> impl Strategy<Value = String> {
    let kind = || select(vec!["Secret", "Folder"]);
    let path = || select(PATHS.to_vec());
    prop_oneof![
        3 => Just("resource".to_owned()),
        1 => select(vec!["Secret", "Folder", "Tenant", "Cluster"]).prop_map(|kind| format!("resource is {kind}")),
        2 => (kind(), path()).prop_map(|(kind, path)| format!("resource == {kind}::{path:?}")),
        4 => path().prop_map(|path| format!("resource in Folder::{path:?}")),
        1 => (kind(), path()).prop_map(|(kind, path)| format!("resource is {kind} in Folder::{path:?}")),
        1 => select(TENANTS.to_vec()).prop_map(|tenant| format!("resource in Tenant::{tenant:?}")),
        1 => Just("resource == Cluster::\"this\"".to_owned()),
    ]
}

/// Conditions that hold, do not, or fail, depending on the request.
fn condition() -> impl Strategy<Value = &'static str> {
    select(vec![
        "",
        "",
        "",
        "when { context.logHour >= 12 }",
        "unless { context.logWeekday > 5 }",
        "when { context.localHour < 12 }",
        "unless { context has localHour && context.localHour < 12 }",
        "when { context.sourceAddress.isInRange(ip(\"10.0.0.0/8\")) }",
        "when { context has sourceRegion && context.sourceRegion == \"eu\" }",
        "when { context has cas && context.cas }",
        "when { context.logTime + 9223372036854775807 > 0 }",
        "unless { context.logHour * 9223372036854775807 > 0 }",
        "unless { principal.owner == \"ops@acme\" && context.logTime * 9223372036854775807 > 0 }",
        "when { principal in Group::\"ops\" }",
        "when { principal.name like \"spiffe://*\" }",
        "when { resource in Folder::\"prod\" }",
        "when { {asked: context}.asked.logHour >= 12 }",
        "when { (if principal.id == \"\" then context else context).logWeekday <= 5 }",
        "when { resource.path like \"*key\" && [context].contains(context) }",
    ])
}

fn policy() -> impl Strategy<Value = String> {
    (
        select(vec!["permit", "permit", "forbid"]),
        principal_scope(),
        action_scope(),
        resource_scope(),
        condition(),
    )
        .prop_map(|(effect, principal, action, resource, condition)| {
            format!("{effect}({principal}, {action}, {resource}) {condition};")
        })
}

#[derive(Clone, Debug)]
struct Question {
    ask: Ask<'static>,
}

fn question() -> impl Strategy<Value = Question> {
    let groups = select(vec![
        &[][..],
        &["billing"][..],
        &["ops"][..],
        &["billing", "ops"][..],
        &["spiffe://acme/a"][..],
    ]);
    let resource = (select(TENANTS.to_vec()), select(PATHS.to_vec()), 0..10);
    let local = prop_oneof![
        1 => Just(None),
        4 => (0_u64..24, select(vec!["10.1.1.1", "192.0.2.1", "2001:db8::1", "::ffff:10.0.0.1"]), any::<bool>()).prop_map(
            |(hour, address, known)| {
                noon().map(|local| LocalFacts {
                    time_ms: hour * 3_600_000,
                    source: address.parse().expect("an address"),
                    region: known.then_some("eu"),
                    ..local
                })
            }
        ),
    ];
    let who = (
        select(KINDS.to_vec()),
        select(NAMES.to_vec()),
        groups,
        select(vec!["ops@acme", "other"]),
    );
    (who, select(Action::ALL.to_vec()), resource, 0_u64..24 * 14, local).prop_map(
        |((kind, name, groups, owner), action, (tenant, path, choice), hours, local)| {
            let resource = match action {
                // One in ten questions may be one that the schema does not foresee.
                _ if choice == 0 => Resource::Folder { tenant, path },
                Action::ReadPolicy | Action::ReadAudit | Action::ReadStatus => Resource::Cluster,
                Action::List | Action::ReadMetadata if choice < 4 => Resource::Folder { tenant, path },
                Action::List | Action::ReadMetadata if choice < 6 => Resource::Tenant { name: tenant },
                _ => Resource::Secret { tenant, path },
            };
            let ask = Ask {
                kind,
                name,
                groups,
                owner,
                action,
                resource: Some(resource),
                log_time_ms: hours * 3_600_000,
                local,
                ..Ask::default()
            };
            Question { ask }
        },
    )
}

/// What evaluating every policy gives.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    reason: Reason,
    determining: BTreeSet<usize>,
    /// Why, in Cedar's words: what is left out of a request that no policy asks for must not show in them.
    failed: BTreeMap<usize, String>,
}

fn uid(kind: &str, id: &str) -> Value {
    json!({ "type": kind, "id": id })
}

fn entity(kind: &str, id: &str, attrs: Value, parents: Vec<Value>) -> Value {
    json!({ "uid": uid(kind, id), "attrs": attrs, "parents": parents })
}

/// The parent of a path, one step up.
fn parent(path: &str, tenant: &str) -> Value {
    path.rsplit_once('/')
        .map_or_else(|| uid("Tenant", tenant), |(above, _)| uid("Folder", above))
}

fn entities(ask: &Ask<'_>, strict: bool) -> (Entities, EntityUid, EntityUid) {
    let kind = format!("{:?}", ask.kind);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let attrs = json!({ "id": hex(&ask.id), "name": ask.name, "owner": ask.owner, "purpose": ask.purpose });
    let mut all = vec![entity(
        &kind,
        ask.name,
        attrs,
        ask.groups.iter().map(|group| uid("Group", group)).collect(),
    )];
    all.extend(ask.groups.iter().map(|group| entity("Group", group, json!({}), vec![])));
    let (resource_kind, id) = match ask.resource.expect("every question names one") {
        Resource::Secret { tenant, path } | Resource::Folder { tenant, path } => {
            let is_secret = matches!(ask.resource, Some(Resource::Secret { .. }));
            let kind = if is_secret { "Secret" } else { "Folder" };
            all.push(entity(kind, path, json!({ "path": path }), vec![parent(path, tenant)]));
            let mut above = path;
            while let Some((folder, _)) = above.rsplit_once('/') {
                all.push(entity(
                    "Folder",
                    folder,
                    json!({ "path": folder }),
                    vec![parent(folder, tenant)],
                ));
                above = folder;
            }
            all.push(entity("Tenant", tenant, json!({}), vec![]));
            (kind, path)
        }
        Resource::Tenant { name } => {
            all.push(entity("Tenant", name, json!({}), vec![]));
            ("Tenant", name)
        }
        Resource::Cluster => ("Cluster", "this"),
    };
    let schema = strict.then_some(&*SCHEMA);
    let entities = Entities::from_json_value(Value::Array(all), schema).expect("entities conform to the schema");
    let of = |kind: &str, id: &str| format!("{kind}::{id:?}").parse().expect("an entity");
    (entities, of(&kind, ask.name), of(resource_kind, id))
}

fn context(ask: &Ask<'_>) -> Value {
    let mut context = json!({});
    let mut times = |prefix: &str, ms: u64| {
        let hours = ms / 3_600_000;
        context[format!("{prefix}Time")] = json!(ms);
        context[format!("{prefix}Hour")] = json!(hours % 24);
        // Day 4 was Monday, 5 January 1970.
        context[format!("{prefix}Weekday")] = json!((hours / 24 + 7 - 4) % 7 + 1);
    };
    times("log", ask.log_time_ms);
    let applied = APPLIED.contains(&ask.action);
    if let Some(local) = ask.local.filter(|_| !applied) {
        times("local", local.time_ms);
        let address = match local.source {
            std::net::IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(v6.to_string(), |v4| v4.to_string()),
            std::net::IpAddr::V4(v4) => v4.to_string(),
        };
        context["sourceAddress"] = json!({ "__extn": { "fn": "ip", "arg": address } });
        if let Some(region) = local.region {
            context["sourceRegion"] = json!(region);
        }
        context["tlsGroup"] = json!(local.tls_group);
        context["clientKey"] = json!(
            local
                .client_key
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        );
    }
    if let Some(cas) = ask.cas.filter(|_| ask.action == Action::Write) {
        context["cas"] = json!(cas);
    }
    context
}

/// `None` if the schema has no such request.
fn outcome_unsliced(policies: &[String], ask: &Ask<'_>) -> Option<Outcome> {
    let whole: Whole = policies.join("\n").parse().expect("what was compiled parses");
    let (entities, principal, resource) = entities(ask, true);
    let action: EntityUid = format!("Action::{:?}", ask.action.name()).parse().expect("an entity");
    let complete = ask.local.is_some() || APPLIED.contains(&ask.action);
    let foreseen = SCHEMA.request_envs().any(|env| {
        *env.principal() == *principal.type_name()
            && *env.action() == action
            && *env.resource() == *resource.type_name()
    });
    if !foreseen {
        return None;
    }
    let context = Context::from_json_value(context(ask), None).expect("a context");
    // Without local circumstances the context is not the schema's, on purpose.
    let schema = complete.then_some(&*SCHEMA);
    let request =
        Request::new(principal, action, resource, context, schema).expect("the request conforms to the schema");
    let response = Authorizer::new().is_authorized(&request, &whole, &entities);
    let number = |id: &cedar_policy::PolicyId| id.to_string().trim_start_matches("policy").parse().expect("a number");
    let failed: BTreeMap<usize, String> = response
        .diagnostics()
        .errors()
        .map(|cedar_policy::AuthorizationError::PolicyEvaluationError(error)| {
            (number(error.policy_id()), error.inner().to_string())
        })
        .collect();
    let determining: BTreeSet<usize> = response.diagnostics().reason().map(number).collect();
    let effect = determining
        .first()
        .and_then(|number| whole.policy(&cedar_policy::PolicyId::new(format!("policy{number}"))));
    let reason = match effect.map(cedar_policy::Policy::effect) {
        Some(Effect::Forbid) => Reason::Forbid,
        _ if !failed.is_empty() => Reason::EvaluationError,
        Some(Effect::Permit) => Reason::Allowed,
        None => Reason::NoPolicy,
    };
    assert_eq!(
        response.decision() == Decision::Allow,
        matches!(effect.map(cedar_policy::Policy::effect), Some(Effect::Permit))
    );
    let determining = if reason == Reason::EvaluationError {
        BTreeSet::new()
    } else {
        determining
    };
    Some(Outcome {
        reason,
        determining,
        failed,
    })
}

fn outcome_sliced(set: &PolicySet, ask: &Ask<'_>) -> Option<Outcome> {
    let decision = ask.of(set);
    let number = |policy: &symbolon_policy::PolicyRef| {
        // Sources have one policy a line.
        usize::try_from(policy.line).expect("small") - 1
    };
    if decision
        .errors()
        .iter()
        .any(|error| matches!(error, DecisionError::Input(_)))
    {
        return None;
    }
    let failed = decision.errors().iter().map(|error| match error {
        DecisionError::Policy { policy, message } => (number(policy), message.clone()),
        other => panic!("not about a policy: {other}"),
    });
    Some(Outcome {
        reason: decision.reason(),
        determining: decision.determining().iter().map(number).collect(),
        failed: failed.collect(),
    })
}

/// Policies that validation refuses one by one are dropped: the generator makes some that can never apply.
fn accepted(policies: Vec<String>) -> Vec<String> {
    policies
        .into_iter()
        .filter(|policy| PolicySet::compile(&[source(policy)]).is_ok())
        .collect()
}

proptest! {
    // 500 sets with 24 requests each: 12,000 cases.
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn the_sliced_decision_is_the_unsliced_one(
        policies in prop::collection::vec(policy(), 1..40).prop_map(accepted),
        questions in prop::collection::vec(question(), 24),
    ) {
        let set = match PolicySet::compile(&[source(&policies.join("\n"))]) {
            Ok(set) => set,
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        for Question { ask } in &questions {
            prop_assert_eq!(outcome_sliced(&set, ask), outcome_unsliced(&policies, ask), "{:?}\n{}", ask, policies.join("\n"));
        }
    }
}

#[test]
fn the_generator_reaches_every_reason() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = std::collections::HashMap::<Option<Reason>, usize>::new();
    for _ in 0..60 {
        let policies = prop::collection::vec(policy(), 1..40)
            .prop_map(accepted)
            .new_tree(&mut runner)
            .expect("a value")
            .current();
        let set = common::compile(&policies.join("\n"));
        for _ in 0..24 {
            let question = question().new_tree(&mut runner).expect("a value").current();
            *seen
                .entry(outcome_sliced(&set, &question.ask).map(|outcome| outcome.reason))
                .or_default() += 1;
        }
    }
    for reason in [
        Reason::Allowed,
        Reason::Forbid,
        Reason::EvaluationError,
        Reason::NoPolicy,
    ] {
        assert!(seen.get(&Some(reason)).is_some_and(|count| *count >= 20), "{seen:?}");
    }
}
