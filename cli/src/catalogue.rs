//! What each error code means for the one who meets it. `docs/errors.md` is made from this.

use symbolon_wire::Code;
use symbolon_wire::codes::Exit;

/// What to do about a code.
pub(crate) fn advice(code: Code) -> &'static str {
    match code {
        Code::Malformed => {
            "The client and the node do not speak alike, or a file was changed. Use matching versions of both; if it stays, report it."
        }
        Code::UnknownKey => {
            "Never registered: ask an operator (`symbolon agent register FILE.pub`). Expired or removed: make a new identity with another name and have it registered; ids, names and keys do not come back. Rekeyed: use the identity with the new keys. Or choose another with `--identity`; `symbolon identity show` prints the one in use."
        }
        Code::BadPath => {
            "Write paths in lower case: a-z 0-9 - _ . in segments of at most 64 characters, with / between them. The message says what is wrong, and where."
        }
        Code::Denied => {
            "Where a policy decided, the lines `because` name it by file and line: an operator can change it (`symbolon policy show --text`). Policies, agents and audit logs are otherwise the operators' to see and to change."
        }
        Code::NotFound => {
            "Check the path with `symbolon list FOLDER`, its versions with `symbolon history PATH`: it may be hidden, destroyed or expired. What policy forbids is SY0403, whether it exists or not."
        }
        Code::TooLarge => {
            "The message names the limit. Values have at most 1 MiB: keep large data elsewhere, encrypted, and its key here."
        }
        Code::WrongCluster => {
            "The command or file belongs to another cluster. Choose the right context with `--context`."
        }
        Code::UnknownVersion => "One side is newer than the other. Upgrade the older one.",
        Code::Timeout => {
            "Try again, with a longer `--timeout` if nodes are far. `symbolon status` shows which nodes answer."
        }
        Code::Conflict => {
            "Someone else has written since. `symbolon history PATH` shows the versions, the latest last; decide again."
        }
        Code::NonceReused => {
            "Two different commands carried one nonce: mostly a copied machine image or a tampered file. Make the command anew."
        }
        Code::Expired => {
            "Make the command anew. If it happens at once, compare this machine's clock with the cluster's: `symbolon doctor`."
        }
        Code::BadSignature => {
            "The key that signed may not do this, or what it signed was changed afterwards. `symbolon command show FILE` shows who has signed what."
        }
        Code::TooFewSignatures => {
            "Save the command with `--save FILE`, have other operators run `symbolon command sign FILE`, then submit it."
        }
        Code::EpochChanged => {
            "The nodes have changed since the client connected. Run the command again: it will fetch the new roster."
        }
        Code::BadDealing => {
            "The client made a wrong dealing: a defect, or a client that is not ours. Report it with the version of the client."
        }
        Code::BadSession => "The client opens another session by itself; if you see this, run the command again.",
        Code::Exists => "Ids, names and keys are never reused. Choose another name, or make a new identity.",
        Code::BadPolicy => {
            "The message, or the lines `because`, say where. `symbolon policy check FILES` checks without a cluster."
        }
        Code::CasRequired => {
            "Say which version the write follows: `symbolon put PATH --cas VERSION`. `symbolon history PATH` shows the versions; `symbolon metadata set PATH --cas-required false` lifts the demand."
        }
        Code::TooFarBehind => {
            "Changes are remembered for as long as a node runs, the last 16 MiB of them. Note the position that the message names, look at all that you watch anew (`symbolon list`, `symbolon history`), then `symbolon watch PATH --after POSITION`."
        }
        Code::TooManyCommands => {
            "Wait: a command stops counting when it expires, mostly two minutes after it was made. Spread heavy writing over several principals."
        }
        Code::Internal => "The node's log says more at the same time. Report it.",
        Code::Sealed => {
            "The node's token is absent or refuses; the others serve on. Look at the node's log and at its HSM, repair that, then start the node again."
        }
        Code::NotFresh => "The node lags behind. If it stays, look at its disk and at its network: `symbolon status`.",
        Code::NoQuorum => {
            "Too few nodes answer, or they elect a leader just now. `symbolon status` shows which are missing."
        }
        Code::Frozen => {
            "The node's history, or its state, is contradicted by others. Keep its disk as evidence, and compare `symbolon status` of all nodes."
        }
        Code::DiskFull => {
            "Free or add disk on the node: while it is full it refuses before it writes, and loses nothing. If `symbolon status` says `failed`, a write or a sync failed: look at the disk, then start the node again."
        }
        Code::NoValidFragment => {
            "This node cannot help to read this version; t others can. If it stays, its author writes the value anew."
        }
        Code::Overloaded => "Wait a little and try again, with fewer requests at once.",
        Code::Booting => {
            "Ask another node. `symbolon status` shows for whom this one waits: after a boot every other node must say where the log stands."
        }
        Code::Superseded => {
            "Two processes run with one node's keys. Find out which one should, end the other, and look for who copied the disk or the token."
        }
        Code::ClockApart => "Set the node's clock (NTP). It judges no expiry until its clock and log time agree.",
        Code::OutcomeUnknown => {
            "It may or may not have happened. `symbolon command submit FILE` sends the same bytes again; they count once."
        }
        Code::Unreachable => {
            "Start the nodes (`symbolon dev` for a cluster on this machine), or check the address and the network (QUIC is UDP): `symbolon doctor`."
        }
        Code::NotTheNode => {
            "Someone answers in a node's place, the address is of another cluster, or the node's disk was put back and shows an earlier boot. Do not go on; ask your operators, and compare the genesis hash with theirs."
        }
        Code::NodeAtFault => {
            "The node named is faulty or malicious. The value is safe while t others are honest. Keep the message: it carries signed evidence."
        }
        Code::AuthorAtFault => {
            "Whoever wrote this version dealt badly, so nobody can read it. Read an earlier version, and have it written anew."
        }
        Code::AuditBroken => {
            "The audit log named was changed, cut or damaged, at the entry named if one is. Keep that node's disk; compare with the other nodes' logs. An export that lacks a file is made anew: `symbolon audit export`."
        }
        Code::Diverged => {
            "Two nodes show different histories: one of them is malicious or broken. All nodes have been told. Stop writing, and call the operators."
        }
        Code::Local => "The message names the file or setting.",
        Code::Usage => "`symbolon VERB --help` shows the usage, with an example.",
    }
}

/// What an exit code says.
fn exit_meaning(exit: Exit) -> &'static str {
    match exit {
        Exit::Ok => "ok",
        Exit::Failure => "failure",
        Exit::Usage => "usage",
        Exit::LoginNeeded => "login needed",
        Exit::Denied => "denied by policy",
        Exit::ApprovalPending => "approval pending",
        Exit::Unavailable => "sealed or no quorum",
        Exit::NotFound => "not found",
        Exit::Conflict => "conflict",
        Exit::VerificationFailed => "verification failed",
        Exit::Timeout => "timeout",
        Exit::OutcomeUnknown => "outcome unknown",
    }
}

/// The exit code of an error code, with its meaning.
pub(crate) fn exit_text(code: Code) -> String {
    let exit = code.exit();
    format!("{} ({})", exit as u8, exit_meaning(exit))
}

/// `docs/errors.md`.
pub(crate) fn document() -> String {
    let mut text = String::from(
        "# Error codes\n\n\
         A code never changes its meaning. `symbolon explain SY0403` prints its entry.\n\
         This file is made by `symbolon explain --all`; a test compares the two.\n\n\
         Exit codes of the command line:",
    );
    let exits = [
        Exit::Ok,
        Exit::Failure,
        Exit::Usage,
        Exit::LoginNeeded,
        Exit::Denied,
        Exit::ApprovalPending,
        Exit::Unavailable,
        Exit::NotFound,
        Exit::Conflict,
        Exit::VerificationFailed,
        Exit::Timeout,
        Exit::OutcomeUnknown,
    ];
    let exits: Vec<String> = exits
        .iter()
        .map(|exit| format!(" {} {}", *exit as u8, exit_meaning(*exit)))
        .collect();
    text.push_str(&exits.join(" ·"));
    text.push_str(".\n\n| code | what | exit | what to do |\n|---|---|---|---|\n");
    for code in Code::ALL {
        text.push_str(&format!(
            "| {code} | {} | {} | {} |\n",
            code.title(),
            exit_text(*code),
            advice(*code)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md");
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            found == document(),
            "docs/errors.md is stale: symbolon explain --all > docs/errors.md"
        );
    }
}
