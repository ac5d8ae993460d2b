//! The grammar of the command line. Each verb's own arguments stand in its module.

use clap::{Parser, Subcommand};

use crate::settings::Global;
use crate::verbs;

/// Symbolon: secrets that no single node can read.
#[derive(Debug, Parser)]
#[command(
    name = "symbolon",
    version,
    max_term_width = 100,
    after_help = "Example:\n  symbolon dev                       # a cluster on this machine, in one terminal\n  \
                  symbolon put prod/stripe/key @key  # in another\n  symbolon get prod/stripe/key --reveal\n\n\
                  Exit codes: 0 ok, 1 failure, 2 usage, 3 login needed, 4 denied by policy, 5 approval pending,\n\
                  6 sealed or no quorum, 7 not found, 8 conflict, 9 verification failed, 10 timeout, 11 outcome unknown."
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run a cluster on this machine until Ctrl-C
    Dev(verbs::dev::Dev),
    /// Show, on a cluster of real processes, that no node ever holds a value
    Demo(verbs::demo::Demo),
    /// Make the genesis roster of a new cluster
    Init(verbs::init::Init),
    /// Make the identity of an operator
    #[command(subcommand)]
    Operator(verbs::identity::Operator),
    /// Make or show an identity
    #[command(subcommand)]
    Identity(verbs::identity::Identity),
    /// Store a value as a new version of a secret
    Put(verbs::secrets::Put),
    /// Read a value
    Get(verbs::secrets::Get),
    /// List a folder
    List(verbs::secrets::List),
    /// Hide versions of a secret
    Delete(verbs::versions::Delete),
    /// Show hidden versions again
    Undelete(verbs::versions::Undelete),
    /// Destroy versions of a secret for good
    Destroy(verbs::versions::Destroy),
    /// Show a secret's versions, and what became of each
    History(verbs::history::History),
    /// Tell each change of a secret or folder as it happens
    Watch(verbs::watch::Watch),
    /// Show or change what stands beside a secret, unencrypted
    #[command(subcommand)]
    Metadata(verbs::metadata::Metadata),
    /// Apply, show or check policies
    #[command(subcommand)]
    Policy(verbs::policy::Policy),
    /// Register, list, remove or rekey agents
    #[command(subcommand)]
    Agent(verbs::agent::Agent),
    /// Run a command with values in its environment, masked in its output
    Run(verbs::run::Run),
    /// Show every node's state
    Status(verbs::status::Status),
    /// Show, verify or export the nodes' audit logs
    #[command(subcommand)]
    Audit(verbs::audit::Audit),
    /// Check this machine's settings and its way to the cluster
    Doctor(verbs::doctor::Doctor),
    /// Show, sign or submit a command that needs several signatures
    #[command(subcommand)]
    Command(verbs::command::Command),
    /// Explain an error code
    Explain(verbs::docs::Explain),
    /// Print completions for a shell
    Completions(verbs::docs::Completions),
    /// Write manual pages
    Man(verbs::docs::Man),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// Every verb that can be run by itself, with its words.
    fn verbs(command: &clap::Command, path: &str, found: &mut Vec<(String, clap::Command)>) {
        if !command.is_subcommand_required_set() {
            found.push((path.to_owned(), command.clone()));
        }
        for child in command.get_subcommands().filter(|child| child.get_name() != "help") {
            verbs(child, &format!("{path} {}", child.get_name()), found);
        }
    }

    #[test]
    fn the_grammar_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_help_of_each_verb_has_an_example() {
        let mut found = Vec::new();
        verbs(&Arguments::command(), "symbolon", &mut found);
        assert!(found.len() > 20);
        for (path, command) in found {
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(
                after.starts_with("Example") && after.contains("symbolon "),
                "{path} has no example"
            );
        }
    }

    #[test]
    fn the_help_of_each_verb_is_as_it_was() {
        let mut found = Vec::new();
        let mut root = Arguments::command().term_width(100);
        root.build();
        verbs(&root, "symbolon", &mut found);
        let page = |(path, mut command): (String, clap::Command)| {
            let help = command.render_help().to_string();
            // The settings are those of every verb: the root's page shows them.
            let (before, rest) = help.split_once("Settings:\n").unwrap_or((&help, ""));
            let after = rest.split_once("\n\n").map_or("", |(_, after)| after);
            format!("━━━ {path}\n{before}{after}\n")
        };
        let pages: String = found.into_iter().map(page).collect();
        insta::assert_snapshot!("help", format!("{}\n{pages}", root.render_help()));
    }
}
