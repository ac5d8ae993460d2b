//! `status`: every node's own word, side by side, and what does not fit together.

use clap::Args;
use symbolon_client::{Client, Code};
use symbolon_wire::codes::Exit;
use symbolon_wire::v1::StatusReply;

use crate::failure::Error;
use crate::limits::LAG_WARN;
use crate::output::{Record, say};
use crate::progress::while_waiting;
use crate::session::connect;
use crate::settings::Settings;
use crate::times::time;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  symbolon status\n  symbolon status --wide\n  symbolon status -o json")]
pub(crate) struct Status {
    /// Show all columns, as -o json does
    #[arg(long)]
    wide: bool,
}

/// What one node answered.
pub(crate) type Answer = (u16, Result<StatusReply, Error>);

/// `status`.
pub(crate) async fn status(status: &Status, settings: &Settings) -> Result<u8, Error> {
    let client = connect(settings).await?;
    let answers = while_waiting("asking every node", client.status()).await;
    // Nodes that answer that they do not know who asks are not down.
    let unknown = |answer: &Answer| matches!(answer, (_, Err(error)) if error.code == Code::UnknownKey);
    if let (true, Some((_, Err(error)))) = (answers.iter().all(unknown), answers.first()) {
        return Err(error.clone());
    }
    let serving = show(&client, &answers, status.wide, settings)?;
    Ok(if serving >= usize::from(client.roster().threshold) {
        crate::DONE
    } else {
        Exit::Unavailable as u8
    })
}

/// Prints the table and the warnings; returns how many nodes serve.
pub(crate) fn show(client: &Client, answers: &[Answer], wide: bool, settings: &Settings) -> Result<usize, Error> {
    let short = settings.output.for_people() && !wide;
    let records: Vec<Record> = answers.iter().map(if short { brief } else { record }).collect();
    settings.output.list(&records, "the roster has no nodes")?;
    for warning in warnings(answers) {
        say(&format!("warning: {warning}"));
    }
    let serving = answers
        .iter()
        .filter(|(_, answer)| matches!(answer, Ok(status) if status.state == "serving"))
        .count();
    let threshold = usize::from(client.roster().threshold);
    if serving < threshold {
        say(&format!(
            "warning: {serving} of {} nodes serve, {threshold} are needed: nothing can be read or written",
            answers.len()
        ));
    }
    Ok(serving)
}

fn record((node, answer): &Answer) -> Record {
    match answer {
        Ok(status) => Record::new()
            .with("node", *node)
            .with("state", status.state.as_str())
            .with("leader", (status.leader != 0).then_some(status.leader))
            .with("term", status.term)
            .with("applied", status.applied)
            .with("log_time", time(status.log_time_ms))
            .with("tls_group", status.tls_group.as_str())
            .with("token", status.token.as_str())
            .with("boot", status.boot_counter)
            .with("roster", status.roster_version)
            .with("policies", status.policy_version)
            .with("audit_size", status.audit_size)
            .with("audit_cosigned", status.audit_cosigned)
            .with("audit_anchored", status.audit_anchored)
            .with("software", status.software.as_str())
            .with("level", status.feature_level)
            .with("build_level", status.build_level)
            .with("mark", status.mark)
            .with("fragments_missing", status.fragments_missing)
            .with("reason", status.reason.as_str()),
        Err(error) => {
            let nothing = || serde_json::Value::Null;
            let empty = [
                "leader",
                "term",
                "applied",
                "log_time",
                "tls_group",
                "token",
                "boot",
                "roster",
                "policies",
                "audit_size",
                "audit_cosigned",
                "audit_anchored",
                "software",
                "level",
                "build_level",
                "mark",
                "fragments_missing",
            ];
            let record = Record::new().with("node", *node).with("state", "no answer");
            let record = empty.iter().fold(record, |record, name| record.with(name, nothing()));
            record.with("reason", error.message.as_str())
        }
    }
}

/// What fits into 80 columns; where nodes differ in the rest, a warning says it.
fn brief(answer: &Answer) -> Record {
    record(answer).only(&[
        "node",
        "state",
        "leader",
        "term",
        "applied",
        "tls_group",
        "policies",
        "audit_size",
    ])
}

/// What a careful operator would ask about.
fn warnings(answers: &[Answer]) -> Vec<String> {
    let known: Vec<(u16, &StatusReply)> = answers
        .iter()
        .filter_map(|(node, answer)| Some((*node, answer.as_ref().ok()?)))
        .collect();
    let silent = answers
        .iter()
        .filter_map(|(node, answer)| Some((node, answer.as_ref().err()?)));
    let mut warnings: Vec<String> = silent
        .map(|(node, error)| format!("node {node} gives no answer: {}", error.message))
        .collect();
    differ(&known, "leader", |status| status.leader.to_string(), &mut warnings);
    differ(
        &known,
        "roster version",
        |status| status.roster_version.to_string(),
        &mut warnings,
    );
    // Policies are entries of the log: whoever has not come to them yet is late, and does not differ.
    let highest = known.iter().map(|(_, status)| status.applied).max().unwrap_or(0);
    let up_to_date: Vec<(u16, &StatusReply)> = known
        .iter()
        .copied()
        .filter(|(_, status)| status.applied == highest)
        .collect();
    differ(
        &up_to_date,
        "policy version",
        |status| status.policy_version.to_string(),
        &mut warnings,
    );
    differ(&known, "software", |status| status.software.clone(), &mut warnings);
    differ(
        &known,
        "the highest feature level that their builds know",
        |status| status.build_level.to_string(),
        &mut warnings,
    );
    differ(&known, "TLS group", |status| status.tls_group.clone(), &mut warnings);
    for (node, status) in &known {
        if status.state != "serving" {
            warnings.push(format!("node {node} is {}: {}", status.state, status.reason));
        }
        if highest - status.applied > LAG_WARN {
            warnings.push(format!("node {node} is {} entries behind", highest - status.applied));
        }
        for excluded in &status.excluded {
            warnings.push(format!(
                "node {node} has caught node {excluded} showing two histories, and no longer counts it"
            ));
        }
        for outvoted in &status.outvoted {
            warnings.push(format!(
                "node {node} and others agree that the log of node {outvoted} is not theirs, and no longer follow it: look \
                 into node {outvoted}"
            ));
        }
        warnings.extend(audit_faults(*node, status));
        if status.fragments_missing > 0 {
            warnings.push(format!(
                "node {node} has lost its fragments of {} versions: have these written anew while enough others hold theirs \
                 (docs/operations/backup.md)",
                status.fragments_missing
            ));
        }
        if status.token.contains("software") {
            warnings.push(format!("node {node} keeps its keys in files: for development only"));
        }
    }
    // Two nodes at one index with two chain values: the one thing that must never be.
    for (at, (node, status)) in known.iter().enumerate() {
        for (other, others) in known.iter().skip(at + 1) {
            if status.applied == others.applied && status.chain != others.chain {
                warnings.push(format!(
                    "nodes {node} and {other} show different histories at entry {}",
                    status.applied
                ));
            }
            if status.mark != 0 && status.mark == others.mark && status.state_root != others.state_root {
                warnings.push(format!(
                    "nodes {node} and {other} came to different states at entry {}: one of their builds is not fit for this \
                     cluster",
                    status.mark
                ));
            }
        }
    }
    warnings
}

/// What a node says is wrong with audit logs, its own and others'.
pub(crate) fn audit_faults(node: u16, status: &StatusReply) -> Vec<String> {
    let mut faults = Vec::new();
    if !status.audit_fault.is_empty() {
        let what = crate::output::printable(&status.audit_fault);
        faults.push(format!("the audit log of node {node} is contradicted: {what}"));
    }
    for forked in &status.audit_forks {
        faults.push(format!(
            "node {node} keeps the proof that node {forked} signed two histories of its audit log"
        ));
    }
    faults
}

fn differ(known: &[(u16, &StatusReply)], what: &str, of: impl Fn(&StatusReply) -> String, warnings: &mut Vec<String>) {
    let Some((_, first)) = known.first() else { return };
    if known.iter().any(|(_, status)| of(status) != of(first)) {
        let each: Vec<String> = known
            .iter()
            .map(|(node, status)| format!("node {node}: {}", of(status)))
            .collect();
        warnings.push(format!("the nodes differ in {what} ({})", each.join(", ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use symbolon_wire::Code;

    fn serving(applied: u64, chain: &'static [u8]) -> StatusReply {
        StatusReply {
            state: "serving".into(),
            leader: 1,
            applied,
            chain: chain.into(),
            ..StatusReply::default()
        }
    }

    #[test]
    fn nodes_that_agree_give_no_warning() {
        assert!(
            warnings(&[
                (1, Ok(serving(9, b"a"))),
                (2, Ok(serving(9, b"a"))),
                (3, Ok(serving(8, b"b")))
            ])
            .is_empty()
        );
    }

    #[test]
    fn two_histories_a_straggler_another_leader_and_an_exclusion_are_told() {
        let mut odd = serving(10_000, b"b");
        odd.leader = 2;
        odd.excluded = vec![3];
        odd.outvoted = vec![4];
        odd.audit_forks = vec![3];
        odd.audit_fault = "node 1 cosigned a checkpoint over 9 entries; this log has 7".into();
        let text = warnings(&[(1, Ok(serving(10_000, b"a"))), (2, Ok(odd)), (3, Ok(serving(1, b"c")))]).join("\n");
        for expected in [
            "nodes 1 and 2 show different histories",
            "node 3 is 9999 entries behind",
            "differ in leader",
            "caught node 3",
            "the log of node 4 is not theirs",
            "node 3 signed two histories of its audit log",
            "the audit log of node 2 is contradicted: node 1 cosigned",
        ] {
            assert!(text.contains(expected), "{expected} not in\n{text}");
        }
    }

    #[test]
    fn builds_of_two_levels_and_two_states_at_one_mark_are_told_and_one_that_has_no_mark_yet_is_not() {
        let node = |build_level, mark, state_root: &'static [u8]| StatusReply {
            build_level,
            mark,
            state_root: state_root.into(),
            ..serving(9, b"a")
        };
        let text = warnings(&[
            (1, Ok(node(2, 8, b"a"))),
            (2, Ok(node(3, 8, b"b"))),
            (3, Ok(node(2, 0, b""))),
        ]);
        assert_eq!(text.len(), 2, "{text:?}");
        assert!(
            text[0].contains("builds know (node 1: 2, node 2: 3, node 3: 2)"),
            "{text:?}"
        );
        assert!(
            text[1].contains("nodes 1 and 2 came to different states at entry 8"),
            "{text:?}"
        );
        let marked = |mark, root| (1, Ok(node(2, mark, root)));
        assert_eq!(warnings(&[marked(8, b"a"), marked(9, b"b")]), [""; 0], "one is later");
    }

    #[test]
    fn the_short_table_fits_80_columns_and_shows_the_key_exchange() {
        let mut status = serving(123_456_789, b"a");
        status.tls_group = symbolon_wire::tls::GROUP.to_owned();
        (status.term, status.policy_version, status.audit_size) = (12_345, 1_234, 12_345_678);
        let silent = (2, Err(Error::new(Code::Timeout, "no answer in time")));
        let rows: Vec<Record> = [(1, Ok(status)), silent].iter().map(brief).collect();
        let text = crate::output::table(&rows);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("X25519MLKEM768"), "{text}");
    }

    #[test]
    fn a_node_that_does_not_answer_is_warned_of_with_its_reason() {
        let silent = (2, Err(Error::new(Code::Timeout, "no answer in time")));
        assert_eq!(warnings(&[silent]), ["node 2 gives no answer: no answer in time"]);
    }

    #[test]
    fn a_node_without_an_answer_has_the_same_columns() {
        let silent = record(&(2, Err(Error::new(Code::Timeout, "no answer in time"))));
        let names = |record: &Record| {
            serde_json::to_value(record)
                .unwrap()
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&silent), names(&record(&(1, Ok(serving(1, b"a"))))));
    }
}
