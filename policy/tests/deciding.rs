//! What is allowed, what is denied, and why.

mod common;

use common::{Ask, compile, night, noon};
use symbolon_policy::{
    Action, DecisionError, InputDefect, Miss, PathDefect, PolicySet, PrincipalKind, Reason, Resource,
};

const OFFICE: &str = r#"
@id("billing-readers")
permit(principal in Group::"billing", action == Action::"read", resource in Folder::"prod/stripe");

@id("office-hours") @note("allowed 07:00-19:00 UTC")
forbid(principal is Agent, action == Action::"read", resource in Folder::"prod")
unless { context.localHour >= 7 && context.localHour < 19 };
"#;

#[test]
fn the_empty_set_denies_every_action_to_everyone() {
    let set = PolicySet::empty();
    for action in Action::ALL {
        for kind in common::KINDS {
            let decision = Ask {
                kind,
                action,
                ..Ask::default()
            }
            .of(&set);
            assert!(!decision.allowed(), "{kind:?} {action:?}");
        }
    }
    assert_eq!(Ask::default().of(&set).reason(), Reason::NoPolicy);
    assert!(set.is_empty());
}

#[test]
fn a_set_compiled_from_no_source_is_the_empty_set() {
    let compiled = PolicySet::compile(&[]).expect("compiles");
    assert_eq!(compiled.hash(), PolicySet::empty().hash());
    assert!(compiled.is_empty());
}

#[test]
fn office_hours_allow_by_day_and_forbid_by_night() {
    let set = compile(OFFICE);
    let ask = Ask {
        groups: &["billing"],
        path: "prod/stripe/key",
        ..Ask::default()
    };
    let day = Ask {
        local: noon(),
        ..ask.clone()
    }
    .of(&set);
    assert!(day.allowed());
    assert_eq!(day.explain(), [r#"permit "billing-readers"  policies/test.cedar:2"#]);
    let night = Ask { local: night(), ..ask }.of(&set);
    assert_eq!(night.reason(), Reason::Forbid);
    assert_eq!(
        night.explain(),
        [r#"forbid "office-hours"  policies/test.cedar:5   (allowed 07:00-19:00 UTC)"#]
    );
}

#[test]
fn forbid_wins_over_any_number_of_permits() {
    let set = compile(
        r#"permit(principal, action == Action::"read", resource);
           permit(principal is Agent, action == Action::"read", resource in Folder::"prod");
           @id("stop") forbid(principal, action == Action::"read", resource == Secret::"prod/stripe/key");"#,
    );
    let decision = Ask {
        path: "prod/stripe/key",
        ..Ask::default()
    }
    .of(&set);
    assert_eq!(decision.reason(), Reason::Forbid);
    assert_eq!(decision.determining().len(), 1);
    assert_eq!(&*decision.determining()[0].id, "stop");
    assert!(
        Ask {
            path: "prod/stripe/other",
            ..Ask::default()
        }
        .of(&set)
        .allowed()
    );
}

#[test]
fn all_permits_that_apply_are_named_in_the_order_of_the_file() {
    let set = compile(
        r#"@id("z") permit(principal, action, resource is Secret);
           @id("a") permit(principal is Agent, action == Action::"read", resource);"#,
    );
    let decision = Ask::default().of(&set);
    let ids: Vec<&str> = decision.determining().iter().map(|policy| &*policy.id).collect();
    assert_eq!(ids, ["z", "a"]);
}

#[test]
fn an_overflow_in_a_permit_denies_although_another_permits() {
    let set = compile(
        r#"@id("plain") permit(principal, action == Action::"read", resource);
           @id("overflow") permit(principal, action == Action::"read", resource)
           when { context.logTime * 9223372036854775807 > 0 };"#,
    );
    let decision = Ask::default().of(&set);
    assert_eq!(decision.reason(), Reason::EvaluationError);
    assert!(decision.determining().is_empty());
    assert!(
        matches!(&decision.errors()[0], DecisionError::Policy { policy, message }
        if &*policy.id == "overflow" && message.contains("overflow"))
    );
    assert!(decision.explain()[0].starts_with(r#"permit "overflow"  policies/test.cedar:2   (evaluation failed: "#));
}

#[test]
fn an_overflow_in_a_forbid_denies_although_cedar_would_skip_it() {
    let set = compile(
        r#"permit(principal, action == Action::"read", resource);
           forbid(principal, action == Action::"read", resource)
           when { context.logTime * 9223372036854775807 > 0 };"#,
    );
    assert_eq!(Ask::default().of(&set).reason(), Reason::EvaluationError);
}

#[test]
fn a_policy_that_fails_only_elsewhere_does_not_deny_here() {
    let set = compile(
        r#"permit(principal, action == Action::"read", resource);
           forbid(principal, action == Action::"read", resource in Folder::"prod")
           when { context.logTime * 9223372036854775807 > 0 };"#,
    );
    assert!(
        Ask {
            path: "test/key",
            ..Ask::default()
        }
        .of(&set)
        .allowed()
    );
    assert!(
        !Ask {
            path: "prod/key",
            ..Ask::default()
        }
        .of(&set)
        .allowed()
    );
}

#[test]
fn a_policy_that_needs_local_circumstances_denies_where_there_are_none() {
    let set = compile(OFFICE);
    let ask = Ask {
        groups: &["billing"],
        path: "prod/stripe/key",
        local: None,
        ..Ask::default()
    };
    let decision = ask.of(&set);
    assert_eq!(decision.reason(), Reason::EvaluationError);
    assert!(matches!(&decision.errors()[0], DecisionError::Policy { policy, .. } if &*policy.id == "office-hours"));
}

#[test]
fn a_policy_that_needs_no_local_circumstances_is_decided_without_them() {
    let set = compile(r#"permit(principal, action == Action::"read", resource);"#);
    assert!(
        Ask {
            local: None,
            ..Ask::default()
        }
        .of(&set)
        .allowed()
    );
}

#[test]
fn local_circumstances_never_enter_the_decision_on_a_write() {
    let set = compile(r#"permit(principal, action == Action::"write", resource) when { !(context has localHour) };"#);
    let by_day = Ask {
        action: Action::Write,
        local: noon(),
        ..Ask::default()
    }
    .of(&set);
    let alone = Ask {
        action: Action::Write,
        local: None,
        ..Ask::default()
    }
    .of(&set);
    assert!(by_day.allowed());
    assert_eq!(by_day, alone);
}

#[test]
fn log_time_decides_writes() {
    let set = compile(
        r#"permit(principal, action == Action::"write", resource)
           when { context.logHour >= 7 && context.logHour < 19 && context.logWeekday <= 5 };"#,
    );
    let at = |log_time_ms| {
        Ask {
            action: Action::Write,
            log_time_ms,
            ..Ask::default()
        }
        .of(&set)
        .allowed()
    };
    const HOUR: u64 = 3_600_000;
    // 1 January 1970 was a Thursday.
    assert!(!at(7 * HOUR - 1));
    assert!(at(7 * HOUR));
    assert!(at(19 * HOUR - 1));
    assert!(!at(19 * HOUR));
    assert!(at((24 + 12) * HOUR), "Friday");
    assert!(!at((48 + 12) * HOUR), "Saturday");
    assert!(!at((72 + 12) * HOUR), "Sunday");
    assert!(at((96 + 12) * HOUR), "Monday");
}

#[test]
fn a_policy_can_refuse_writes_that_do_not_state_the_version_that_they_follow() {
    let set = compile(
        r#"permit(principal, action, resource);
           forbid(principal, action == Action::"write", resource in Folder::"prod") unless { context.cas };"#,
    );
    let write = |path, cas| {
        Ask {
            action: Action::Write,
            path,
            cas,
            ..Ask::default()
        }
        .of(&set)
    };
    assert!(write("prod/key", Some(true)).allowed());
    assert!(!write("prod/key", Some(false)).allowed());
    assert!(write("test/key", Some(false)).allowed());
    let unknown = write("prod/key", None);
    assert_eq!(
        unknown.reason(),
        symbolon_policy::Reason::EvaluationError,
        "what is not known denies"
    );
    let delete = Ask {
        action: Action::Delete,
        cas: Some(false),
        ..Ask::default()
    };
    assert!(delete.of(&set).allowed());
    let asked = |ask: Ask<'_>| *ask.of(&set).inputs_digest();
    let (stated, plain) = (write("prod/key", Some(true)), write("prod/key", Some(false)));
    assert_ne!(stated.inputs_digest(), plain.inputs_digest());
    let (one, other) = (Some(true), Some(false));
    assert_eq!(
        asked(Ask {
            cas: one,
            ..Ask::default()
        }),
        asked(Ask {
            cas: other,
            ..Ask::default()
        }),
        "a read has nothing to state"
    );
}

#[test]
fn a_source_network_decides_reads_and_mapped_addresses_are_ipv4() {
    let set = compile(
        r#"permit(principal, action == Action::"read", resource)
           when { context.sourceAddress.isInRange(ip("10.0.0.0/8")) };"#,
    );
    let from = |source: &str| {
        let local = noon().map(|local| common::LocalFacts {
            source: source.parse().expect("an address"),
            ..local
        });
        Ask {
            local,
            ..Ask::default()
        }
        .of(&set)
        .allowed()
    };
    assert!(from("10.1.2.3"));
    assert!(from("::ffff:10.1.2.3"));
    assert!(!from("11.1.2.3"));
    assert!(!from("2001:db8::1"));
}

#[test]
fn a_region_must_be_asked_for_before_it_is_used() {
    let guarded = compile(
        r#"permit(principal, action == Action::"read", resource)
           when { context has sourceRegion && context.sourceRegion == "eu" };"#,
    );
    let unknown = noon().map(|local| common::LocalFacts { region: None, ..local });
    assert!(Ask::default().of(&guarded).allowed());
    assert_eq!(
        Ask {
            local: unknown,
            ..Ask::default()
        }
        .of(&guarded)
        .reason(),
        Reason::NoPolicy
    );
}

#[test]
fn owner_purpose_id_and_part_of_a_name_can_be_asked_for() {
    let set = compile(
        r#"permit(principal, action == Action::"read", resource)
           when {
             principal.owner == "ops@acme" && principal.purpose == "billing" &&
             principal.id == "07070707070707070707070707070707" &&
             principal.name like "spiffe://acme/*" && resource.path like "prod/*" &&
             context.tlsGroup == "X25519MLKEM768" &&
             context.clientKey == "0909090909090909090909090909090909090909090909090909090909090909"
           };"#,
    );
    assert!(
        Ask {
            path: "prod/key",
            ..Ask::default()
        }
        .of(&set)
        .allowed()
    );
    assert!(
        !Ask {
            path: "test/key",
            ..Ask::default()
        }
        .of(&set)
        .allowed()
    );
}

#[test]
fn no_permit_is_explained_by_the_nearest_policies() {
    let set = compile(
        r#"@id("elsewhere") permit(principal is Agent, action == Action::"read", resource in Folder::"prod/stripe");
           @id("condition") @note("by day") permit(principal, action == Action::"read", resource) when { context.localHour < 7 };
           @id("other-action") permit(principal, action == Action::"delete", resource);
           @id("other-kind") permit(principal is Operator, action == Action::"read", resource);
           @id("a-forbid") forbid(principal, action == Action::"read", resource in Folder::"test");"#,
    );
    let decision = Ask {
        path: "prod/github/key",
        ..Ask::default()
    }
    .of(&set);
    assert_eq!(decision.reason(), Reason::NoPolicy);
    let near: Vec<(&str, &Miss)> = decision
        .nearest()
        .iter()
        .map(|near| (&*near.policy.id, &near.miss))
        .collect();
    let elsewhere = Miss::Resource(r#"what is in Folder::"prod/stripe""#.to_owned());
    assert_eq!(near, [("condition", &Miss::Condition), ("elsewhere", &elsewhere)]);
    assert_eq!(
        decision.explain(),
        [
            "no policy permits it",
            r#"nearest: permit "condition"  policies/test.cedar:2   (its condition does not hold: by day)"#,
            r#"nearest: permit "elsewhere"  policies/test.cedar:1   (it is for what is in Folder::"prod/stripe")"#,
        ]
    );
}

#[test]
fn the_nearest_policies_are_few() {
    let policies: String = (0..200)
        .map(|n| format!("permit(principal, action == Action::\"read\", resource == Secret::\"other/{n}\");\n"))
        .collect();
    let decision = Ask::default().of(&compile(&policies));
    assert_eq!(decision.nearest().len(), symbolon_policy::limits::NEAREST_MAX);
}

#[test]
fn what_the_schema_does_not_foresee_is_denied_whatever_the_policies_say() {
    let set = compile("permit(principal, action, resource);");
    let defect = |ask: Ask<'_>| ask.of(&set).errors().first().cloned();
    let refused = Some(DecisionError::Input(InputDefect::NotApplicable));
    let folder = Resource::Folder {
        tenant: "acme",
        path: "prod",
    };
    assert_eq!(
        defect(Ask {
            kind: PrincipalKind::Node,
            ..Ask::default()
        }),
        refused
    );
    assert_eq!(
        defect(Ask {
            resource: Some(folder),
            ..Ask::default()
        }),
        refused
    );
    assert_eq!(
        defect(Ask {
            resource: Some(Resource::Cluster),
            ..Ask::default()
        }),
        refused
    );
    let status = Ask {
        kind: PrincipalKind::Node,
        action: Action::ReadStatus,
        resource: Some(Resource::Cluster),
        ..Ask::default()
    };
    assert!(status.of(&set).allowed());
}

#[test]
fn a_malformed_request_is_denied_whatever_the_policies_say() {
    let set = compile("permit(principal, action, resource);");
    let denied = |ask: Ask<'_>, defect: InputDefect| {
        let decision = ask.of(&set);
        assert_eq!(decision.reason(), Reason::EvaluationError);
        assert_eq!(decision.errors(), [DecisionError::Input(defect)]);
    };
    let path = |path: &str, defect| denied(Ask { path, ..Ask::default() }, InputDefect::Path(defect));
    path("", PathDefect::Empty);
    path("/prod", PathDefect::EmptySegment);
    path("prod/", PathDefect::EmptySegment);
    path("prod//key", PathDefect::EmptySegment);
    path("prod/../test", PathDefect::DotSegment);
    path("./prod", PathDefect::DotSegment);
    path("prod/\u{202e}yek", PathDefect::HiddenCharacter);
    path(&"a/".repeat(200), PathDefect::TooDeep);
    path(&"a".repeat(1_025), PathDefect::TooLong);
    denied(
        Ask {
            name: "",
            ..Ask::default()
        },
        InputDefect::PrincipalName,
    );
    denied(
        Ask {
            name: "spiffe://acme/\n",
            ..Ask::default()
        },
        InputDefect::PrincipalName,
    );
    denied(
        Ask {
            groups: &["billing", ""],
            ..Ask::default()
        },
        InputDefect::GroupName,
    );
    denied(
        Ask {
            groups: &["g"; 65],
            ..Ask::default()
        },
        InputDefect::GroupsTooMany,
    );
    denied(
        Ask {
            tenant: "",
            ..Ask::default()
        },
        InputDefect::TenantName,
    );
    denied(
        Ask {
            log_time_ms: u64::MAX,
            ..Ask::default()
        },
        InputDefect::TimeOutOfRange,
    );
}

#[test]
fn the_inputs_digest_changes_with_every_input_and_the_set_hash_with_every_byte() {
    let set = compile(OFFICE);
    let base = Ask::default().of(&set);
    let other_local = |change: fn(common::LocalFacts) -> common::LocalFacts| Ask {
        local: noon().map(change),
        ..Ask::default()
    };
    let changed = [
        Ask {
            kind: PrincipalKind::Workload,
            ..Ask::default()
        },
        Ask {
            id: [8; 16],
            ..Ask::default()
        },
        Ask {
            name: "spiffe://acme/other",
            ..Ask::default()
        },
        Ask {
            groups: &["billing"],
            ..Ask::default()
        },
        Ask {
            groups: &["bill", "ing"],
            ..Ask::default()
        },
        Ask {
            owner: "other",
            ..Ask::default()
        },
        Ask {
            purpose: "other",
            ..Ask::default()
        },
        Ask {
            action: Action::List,
            ..Ask::default()
        },
        Ask {
            path: "other",
            ..Ask::default()
        },
        Ask {
            tenant: "other",
            ..Ask::default()
        },
        Ask {
            resource: Some(Resource::Cluster),
            ..Ask::default()
        },
        Ask {
            log_time_ms: 1,
            ..Ask::default()
        },
        Ask {
            local: None,
            ..Ask::default()
        },
        other_local(|local| common::LocalFacts { time_ms: 1, ..local }),
        other_local(|local| common::LocalFacts {
            source: "10.9.9.9".parse().expect("an address"),
            ..local
        }),
        other_local(|local| common::LocalFacts { region: None, ..local }),
        other_local(|local| common::LocalFacts {
            region: Some(""),
            ..local
        }),
        other_local(|local| common::LocalFacts {
            tls_group: "other",
            ..local
        }),
        other_local(|local| common::LocalFacts {
            client_key: [1; 32],
            ..local
        }),
    ];
    let mut digests: Vec<[u8; 32]> = changed.iter().map(|ask| *ask.of(&set).inputs_digest()).collect();
    digests.push(*base.inputs_digest());
    let count = digests.len();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), count);
    assert_eq!(*base.set_hash(), set.hash());
    assert_ne!(compile(&format!("{OFFICE} ")).hash(), set.hash());
}

#[test]
fn sets_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<PolicySet>();
    shared::<symbolon_policy::Decision>();
}

#[test]
fn each_seeded_bug_is_found_by_its_test_here() {
    symbolon_sabotage::caught_in(file!());
}
