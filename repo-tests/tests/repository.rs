//! This repository keeps its rules.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::sync::LazyLock;

use symbolon_repo_tests::{
    Finding, arrows, bans, claims, licences::Allowed, links, manifests, purity, repository::Repository, sabotage,
    texts, unsafe_code,
};
use symbolon_sabotage::Bug;

static REPOSITORY: LazyLock<Repository> = LazyLock::new(|| Repository::open().unwrap());

fn assert_none(findings: impl IntoIterator<Item = Finding>) {
    let told: Vec<String> = findings.into_iter().map(|finding| finding.to_string()).collect();
    assert!(told.is_empty(), "{} breaches:\n{}", told.len(), told.join("\n"));
}

/// What `check` finds in those of `files` that are text.
fn in_texts(files: Vec<String>, check: impl Fn(&str, &str) -> Vec<Finding>) -> Vec<Finding> {
    let texts = files
        .into_iter()
        .filter_map(|file| Some((REPOSITORY.text(&file).unwrap()?, file)));
    texts.flat_map(|(text, file)| check(&file, &text)).collect()
}

fn text(file: &str) -> String {
    REPOSITORY.text(file).unwrap().unwrap()
}

#[test]
fn dependencies_point_down_only() {
    assert_none(arrows::check(&REPOSITORY.members(), &REPOSITORY.edges().unwrap()));
}

#[test]
fn what_is_kept_out_of_a_crate_is_not_in_it_at_any_depth() {
    let edges = REPOSITORY.edges().unwrap();
    assert!(edges.len() > 100, "cargo resolved the whole workspace");
    assert_none(arrows::check_kept_out(&edges));
}

#[test]
fn pure_crates_open_nothing_read_no_clock_and_draw_no_randomness() {
    let files = REPOSITORY.files().unwrap();
    for folder in purity::PURE {
        assert!(
            files.contains(&format!("{folder}/src/lib.rs")),
            "{folder} is where it is looked for"
        );
    }
    assert_none(in_texts(files, purity::check));
}

#[test]
fn every_crate_forbids_unsafe_code() {
    let roots = REPOSITORY.crate_roots();
    assert!(roots.len() >= REPOSITORY.members().len());
    assert_none(in_texts(roots, unsafe_code::check));
}

#[test]
fn every_crate_inherits_the_lints() {
    assert_none(in_texts(REPOSITORY.manifests(), manifests::check_lints));
}

#[test]
fn every_dependency_stands_under_a_reason() {
    assert_none(manifests::check_reasons("Cargo.toml", &text("Cargo.toml")));
}

#[test]
fn every_licence_is_allowed() {
    let allowed = Allowed::parse(&text("deny.toml")).unwrap();
    let packages = REPOSITORY.licences();
    assert_none(
        packages
            .iter()
            .flat_map(|(package, licence)| allowed.check(package, licence.as_deref())),
    );
}

#[test]
fn no_denied_crate_is_built() {
    let built = REPOSITORY.built().unwrap();
    for expected in ["symbolon-crypto", "sha2"] {
        assert!(built.iter().any(|name| name == expected), "{expected} is built");
    }
    assert_none(bans::check(&bans::parse(&text("deny.toml")).unwrap(), &built));
}

#[test]
fn files_are_short_and_free_of_machine_paths_and_registries() {
    assert_none(in_texts(REPOSITORY.files().unwrap(), texts::check));
}

#[test]
fn what_texts_point_at_is_there() {
    let files = REPOSITORY.files().unwrap();
    let check = |file: &str, text: &str| links::check(file, text, &files);
    assert_none(in_texts(files.clone(), check));
}

#[test]
fn crates_come_from_the_public_registry_only() {
    assert_none(texts::check_lock("Cargo.lock", &text("Cargo.lock")));
}

#[test]
fn the_readme_names_the_commands_that_a_newcomer_needs() {
    let files = REPOSITORY.files().unwrap();
    let text_if_there = |file: &str| {
        if files.iter().any(|one| one == file) {
            text(file)
        } else {
            String::new()
        }
    };
    assert_none(texts::check_commands(
        &text_if_there("README.md"),
        &text_if_there("Makefile"),
    ));
}

#[test]
fn every_claim_is_proved_by_a_test_that_exists_or_says_that_it_is_not_yet() {
    let files = REPOSITORY.files().unwrap();
    let sources = files.iter().filter(|file| file.ends_with(".rs"));
    let sources: Vec<(&str, String)> = sources.map(|file| (file.as_str(), text(file))).collect();
    let tests: Vec<(&str, &str)> = sources
        .iter()
        .flat_map(|(file, source)| claims::tests_of(source).into_iter().map(move |test| (*file, test)))
        .collect();
    assert!(tests.len() > 200, "the tests were found");
    let security = text("SECURITY.md");
    assert!(claims::named(&security).len() > 20, "the names were found");
    assert_none(claims::check_rows("SECURITY.md", &security));
    for file in ["SECURITY.md", "docs/proofs.md", sabotage::DOCUMENT] {
        assert_none(claims::check_named(file, &text(file), &tests));
    }
}

#[test]
fn every_seeded_bug_is_where_the_list_says_and_is_found_by_a_test_that_exists() {
    let files = REPOSITORY.files().unwrap();
    let there = |file: &str| files.iter().any(|one| one == file).then(|| text(file));
    assert_none(Bug::ALL.iter().flat_map(|bug| sabotage::check(*bug, there)));
}

#[test]
fn no_build_that_ships_has_the_seeded_bugs_in_it() {
    let linked = REPOSITORY
        .linked(&sabotage::SHIPPED, &["symbolon-cli/evidence"])
        .unwrap();
    assert!(
        linked.iter().any(|name| name == "symbolon-crypto"),
        "cargo told what is linked"
    );
    assert_none(sabotage::check_linked(&linked));
    let sabotaged = REPOSITORY.linked(&["symbolon-node"], &["sabotage"]).unwrap();
    assert_eq!(sabotage::check_linked(&sabotaged).len(), 1, "the check would see them");
}
