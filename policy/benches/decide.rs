//! What a decision costs: by the number of policies in the set, and of those whose scope matches.
#![allow(missing_docs, clippy::expect_used, reason = "a bench")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::IpAddr;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use symbolon_policy::{Action, Context, Local, PolicySet, Principal, PrincipalKind, Request, Resource, Source};

const SOURCES: usize = 100;

/// `total` policies, of which `matching` are for agent 0 reading below `team-0`.
fn sources(total: usize, matching: usize) -> Vec<Source> {
    let mut texts = vec![String::new(); SOURCES];
    for number in 0..total {
        let text = texts.get_mut(number % SOURCES).expect("in range");
        let (effect, condition) = match number {
            1 => ("forbid", "unless { context.localHour >= 7 && context.localHour < 19 }"),
            _ => (
                "permit",
                "when { context.localHour >= 7 && principal.purpose == \"billing\" }",
            ),
        };
        let team = if number < matching { 0 } else { number + 1 };
        writeln!(
            text,
            "{effect}(principal in Group::\"team-{team}\", action == Action::\"read\", resource in Folder::\"prod/team-{team}\") {condition};"
        )
        .expect("strings take all");
    }
    (0..)
        .zip(texts)
        .map(|(n, text): (usize, _)| Source {
            name: format!("{n}.cedar"),
            text,
        })
        .collect()
}

fn set(total: usize, matching: usize) -> PolicySet {
    PolicySet::compile(&sources(total, matching)).expect("compiles")
}

fn decide(c: &mut Criterion) {
    let groups = ["team-0".to_owned(), "everyone".to_owned()];
    let request = Request {
        principal: Principal {
            kind: PrincipalKind::Agent,
            id: &[7; 16],
            name: "spiffe://acme/agent/billing-bot",
            groups: &groups,
            owner: "ops@acme.example",
            purpose: "billing",
        },
        action: Action::Read,
        resource: Resource::Secret {
            tenant: "acme",
            path: "prod/team-0/stripe/key",
        },
        context: Context {
            log_time_ms: 1_795_176_000_000,
            cas: None,
            local: Some(Local {
                time_ms: 1_795_176_000_000,
                source: IpAddr::from([10, 0, 0, 7]),
                region: Some("eu"),
                tls_group: "X25519MLKEM768",
                client_key: &[9; 32],
            }),
        },
    };
    let mut group = c.benchmark_group("decide");
    for total in [50, 1_000, 10_000] {
        for matching in [0, 1, 3, 5] {
            let set = set(total, matching);
            assert_eq!(set.decide(&request).allowed(), matching > 0);
            group.bench_function(
                BenchmarkId::new(format!("{total} policies"), format!("{matching} candidates")),
                |b| {
                    b.iter(|| set.decide(black_box(&request)));
                },
            );
        }
    }
    group.finish();
}

fn compile(c: &mut Criterion) {
    let mut group = c.benchmark_group("compile");
    group.sample_size(10);
    group.bench_function("1000 policies", |b| b.iter(|| set(1_000, 3)));
    group.bench_function("one file of 100 changed", |b| {
        let (before, mut after) = (set(1_000, 3), sources(1_000, 3));
        after.first_mut().expect("not empty").text.push('\n');
        b.iter(|| before.recompile(&after, u32::MAX).expect("compiles"));
    });
    group.finish();
}

criterion_group!(benches, decide, compile);
criterion_main!(benches);
