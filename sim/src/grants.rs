//! Who may read what: the simulation's policies, small enough that a checker can say what they mean without Cedar.

use std::collections::BTreeSet;
use symbolon_wire::v1;

/// Folders of secrets.
pub const FOLDERS: u8 = 2;
/// Secrets in each.
pub const SECRETS_PER_FOLDER: u8 = 2;

/// A file that grants is called so, then agent and folder.
const READ: &str = "read-";
const CEDAR: &str = ".cedar";

/// Name of an agent in policies.
pub(crate) fn agent_name(agent: u16) -> String {
    format!("spiffe://sim/agent/{agent}")
}

/// One secret of the simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its folder.
    pub folder: u8,
    /// Its number in there.
    pub secret: u8,
}

impl Key {
    /// All of them.
    pub fn all() -> Vec<Self> {
        let of = |folder| (0..SECRETS_PER_FOLDER).map(move |secret| Self { folder, secret });
        (0..FOLDERS).flat_map(of).collect()
    }

    /// Its path.
    #[must_use]
    pub fn path(self) -> String {
        format!("folder-{}/secret-{}", self.folder, self.secret)
    }
}

/// Which agent may read in which folder. Every registered agent may write everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants(BTreeSet<(u16, u8)>);

impl Grants {
    /// All agents up to `agents` read everything.
    #[must_use]
    pub fn everything(agents: u16) -> Self {
        let of = |agent| (0..FOLDERS).map(move |folder| (agent, folder));
        Self((1..=agents).flat_map(of).collect())
    }

    /// Whether `agent` may read in `folder`.
    #[must_use]
    pub fn allow(&self, agent: u16, folder: u8) -> bool {
        self.0.contains(&(agent, folder))
    }

    /// Grants, or revokes.
    #[must_use]
    pub fn toggled(&self, agent: u16, folder: u8) -> Self {
        let mut other = self.clone();
        if !other.0.remove(&(agent, folder)) {
            other.0.insert((agent, folder));
        }
        other
    }

    /// As Cedar policies: one file for who writes, and one for each grant, so that a change checks what it changes.
    #[must_use]
    pub fn to_sources(&self) -> Vec<v1::PolicySource> {
        let write = "@id(\"write\") permit(principal, action in [Action::\"write\", Action::\"delete\", \
             Action::\"undelete\", Action::\"destroy\"], resource);\n";
        let mut sources = vec![v1::PolicySource {
            name: "write.cedar".to_owned(),
            text: write.to_owned(),
        }];
        sources.extend(self.0.iter().map(|(agent, folder)| v1::PolicySource {
            name: format!("{READ}{agent}-{folder}{CEDAR}"),
            text: format!(
                "@id(\"read-{agent}-{folder}\") permit(principal == Agent::\"{}\", action == Action::\"read\", resource in \
                 Folder::\"folder-{folder}\");\n",
                agent_name(*agent)
            ),
        }));
        sources
    }

    /// What [`Grants::to_sources`] gave; `None` for anything else.
    #[must_use]
    pub fn parse(sources: &[v1::PolicySource]) -> Option<Self> {
        let one = |source: &v1::PolicySource| {
            let (agent, folder) = source.name.strip_prefix(READ)?.strip_suffix(CEDAR)?.split_once('-')?;
            Some((agent.parse().ok()?, folder.parse().ok()?))
        };
        let grants = Self(sources.iter().filter_map(one).collect());
        (grants.to_sources() == sources).then_some(grants)
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "tests fail by panic")]
mod tests {
    use super::*;

    #[test]
    fn grants_are_read_back_from_their_policies_and_from_no_others() {
        let grants = Grants::everything(4).toggled(2, 1);
        assert!(grants.allow(2, 0) && !grants.allow(2, 1));
        let mut sources = grants.to_sources();
        assert_eq!(Grants::parse(&sources), Some(grants));
        sources[1].text = "permit(principal, action, resource);".to_owned();
        assert_eq!(Grants::parse(&sources), None);
    }

    #[test]
    fn toggling_twice_changes_nothing() {
        let grants = Grants::everything(3);
        assert_eq!(grants.toggled(1, 1).toggled(1, 1), grants);
    }
}
