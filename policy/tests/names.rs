//! Names are compared byte for byte: nothing in them is a wildcard, a prefix, or nearly the same.

mod common;

use common::{Ask, compile};
use symbolon_policy::{Action, PolicySet, Resource};

fn may_read(set: &PolicySet, path: &str) -> bool {
    Ask { path, ..Ask::default() }.of(set).allowed()
}

fn is_called(name_in_policy: &str, name: &str) -> bool {
    let set = compile(&format!(
        "permit(principal == Agent::\"{name_in_policy}\", action == Action::\"read\", resource);"
    ));
    Ask { name, ..Ask::default() }.of(&set).allowed()
}

#[test]
fn a_folder_holds_what_is_below_it_at_any_depth_and_nothing_that_begins_like_it() {
    let set = compile(r#"permit(principal, action == Action::"read", resource in Folder::"prod");"#);
    for inside in ["prod/key", "prod/stripe/key", "prod/a/b/c/d/e"] {
        assert!(may_read(&set, inside), "{inside}");
    }
    for outside in [
        "prod",
        "production/key",
        "prod-eu/key",
        "Prod/key",
        "test/prod/key",
        "pro/d/key",
    ] {
        assert!(!may_read(&set, outside), "{outside}");
    }
}

#[test]
fn a_forbid_on_a_folder_holds_for_the_folder_itself_when_it_is_listed() {
    let set = compile(
        r#"permit(principal, action == Action::"list", resource);
           forbid(principal, action == Action::"list", resource in Folder::"prod/hidden");"#,
    );
    let may_list = |path: &str| {
        let resource = Some(Resource::Folder { tenant: "acme", path });
        Ask {
            action: Action::List,
            resource,
            ..Ask::default()
        }
        .of(&set)
        .allowed()
    };
    assert!(may_list("prod"));
    assert!(may_list("prod/hidden2"));
    assert!(!may_list("prod/hidden"));
    assert!(!may_list("prod/hidden/deep"));
    // A trailing slash does not get past the rule.
    assert!(!may_list("prod/hidden/"));
    assert!(!may_list("prod//hidden"));
}

#[test]
fn a_secret_and_a_folder_of_one_path_are_two_things() {
    let set = compile(r#"permit(principal, action == Action::"read", resource == Secret::"prod/key");"#);
    assert!(may_read(&set, "prod/key"));
    assert!(!may_read(&set, "prod/key/inner"));
    let folder = compile(r#"permit(principal, action == Action::"read", resource in Folder::"prod/key");"#);
    assert!(!may_read(&folder, "prod/key"));
    assert!(may_read(&folder, "prod/key/inner"));
}

#[test]
fn a_tenant_holds_its_own_and_no_other() {
    let set = compile(r#"permit(principal, action, resource in Tenant::"acme");"#);
    let of = |tenant| {
        Ask {
            tenant,
            ..Ask::default()
        }
        .of(&set)
        .allowed()
    };
    assert!(of("acme"));
    assert!(!of("acme2"));
    assert!(!of("ACME"));
    let root = Some(Resource::Tenant { name: "acme" });
    assert!(
        Ask {
            action: Action::List,
            resource: root,
            ..Ask::default()
        }
        .of(&set)
        .allowed()
    );
}

#[test]
fn wildcards_in_principal_names_are_letters() {
    for name in [
        "*",
        "spiffe://acme/*",
        "a/b",
        "+",
        "a+b",
        "?",
        ".*",
        "%2e",
        "a b",
        "[a-z]",
    ] {
        assert!(is_called(name, name), "{name}");
        assert!(!is_called(name, "spiffe://acme/billing-bot"), "{name}");
    }
    assert!(!is_called("spiffe://acme/*", "spiffe://acme/billing"));
    assert!(!is_called("+", "a"));
    assert!(!is_called("a/b", "a"));
}

#[test]
fn a_wildcard_in_the_name_of_who_asks_matches_no_other_name() {
    assert!(!is_called("spiffe://acme/billing-bot", "*"));
    assert!(!is_called("spiffe://acme/billing-bot", "spiffe://acme/*"));
    // Nor does it widen `like`, whose pattern is the policy's.
    let set = compile(
        r#"permit(principal is Agent, action == Action::"read", resource) when { principal.name like "spiffe://acme/*" };"#,
    );
    assert!(
        !Ask {
            name: "*",
            ..Ask::default()
        }
        .of(&set)
        .allowed()
    );
}

#[test]
fn names_that_look_alike_are_others() {
    for other in [
        "spiffe://acme/Billing-bot",
        "spiffe://acme/billing-bot ",
        " spiffe://acme/billing-bot",
        "spiffe://acme/billing-bot/",
        "spiffe://acme/billing-b\u{43e}t",
        "spiffe://acme/billing\u{2010}bot",
        "spiffe://acme/bi\u{301}lling-bot",
        "spiffe://acme/billing-bot\u{200b}",
        "spiffe://acme/billing-bot\0",
    ] {
        assert!(!is_called("spiffe://acme/billing-bot", other), "{other:?}");
    }
    assert!(is_called("spiffe://acme/billing-bot", "spiffe://acme/billing-bot"));
}

#[test]
fn one_name_in_two_unicode_forms_is_two_names() {
    assert!(!is_called("caf\u{e9}", "cafe\u{301}"));
    assert!(is_called("caf\u{e9}", "caf\u{e9}"));
}

#[test]
fn a_group_is_not_a_principal_of_its_name() {
    let set = compile(r#"permit(principal == Agent::"billing", action == Action::"read", resource);"#);
    assert!(
        !Ask {
            groups: &["billing"],
            ..Ask::default()
        }
        .of(&set)
        .allowed()
    );
    let set =
        compile(r#"permit(principal in Group::"spiffe://acme/billing-bot", action == Action::"read", resource);"#);
    assert!(!Ask::default().of(&set).allowed());
}

#[test]
fn kinds_of_one_name_are_different_principals() {
    let set =
        compile(r#"permit(principal == Workload::"spiffe://acme/billing-bot", action == Action::"read", resource);"#);
    assert!(!Ask::default().of(&set).allowed());
    assert!(
        Ask {
            kind: symbolon_policy::PrincipalKind::Workload,
            ..Ask::default()
        }
        .of(&set)
        .allowed()
    );
}

#[test]
fn a_quote_in_a_name_stays_in_the_name() {
    assert!(is_called(r#"a\"b"#, "a\"b"));
    assert!(is_called(r"a\\b", r"a\b"));
    assert!(!is_called("ab", "a\"b"));
}
