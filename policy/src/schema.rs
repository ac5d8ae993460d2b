//! The vocabulary: `schema/symbolon.cedarschema`, parsed once, and the names in it as Rust types.

use std::sync::LazyLock;

use cedar_policy::{EntityTypeName, Schema, Validator};
use cedar_policy_core::ast::{Eid, EntityType, EntityUID, Name};

use crate::request::Action;

/// Version of the schema. It rises when an entity, attribute or action changes its meaning or goes; additions keep it.
pub const SCHEMA_VERSION: u16 = 1;

/// The schema's text, for people and editors.
pub const SCHEMA_TEXT: &str = include_str!("../schema/symbolon.cedarschema");

/// A type of entity that the schema declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum EntityKind {
    Agent,
    Workload,
    Operator,
    Gateway,
    Node,
    Group,
    Secret,
    Folder,
    Tenant,
    Cluster,
}

impl EntityKind {
    pub(crate) const ALL: [Self; 10] = [
        Self::Agent,
        Self::Workload,
        Self::Operator,
        Self::Gateway,
        Self::Node,
        Self::Group,
        Self::Secret,
        Self::Folder,
        Self::Tenant,
        Self::Cluster,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Agent => "Agent",
            Self::Workload => "Workload",
            Self::Operator => "Operator",
            Self::Gateway => "Gateway",
            Self::Node => "Node",
            Self::Group => "Group",
            Self::Secret => "Secret",
            Self::Folder => "Folder",
            Self::Tenant => "Tenant",
            Self::Cluster => "Cluster",
        }
    }

    pub(crate) fn of(type_name: &EntityTypeName) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| type_name.namespace_components().next().is_none() && type_name.basename() == kind.name())
    }

    pub(crate) fn uid(self, id: &str) -> EntityUID {
        #[expect(
            clippy::indexing_slicing,
            reason = "TYPE_NAMES is built from ALL, in the order of the variants"
        )]
        let type_name = TYPE_NAMES[self as usize].clone();
        EntityUID::from_components(type_name, Eid::new(id), None)
    }
}

#[expect(
    clippy::expect_used,
    reason = "the names are constants; a test goes through all of them"
)]
fn entity_type(name: &str) -> EntityType {
    Name::parse_unqualified_name(name)
        .expect("entity types are Cedar identifiers")
        .into()
}

static TYPE_NAMES: LazyLock<[EntityType; EntityKind::ALL.len()]> =
    LazyLock::new(|| EntityKind::ALL.map(|kind| entity_type(kind.name())));

static ACTION_UIDS: LazyLock<[EntityUID; Action::ALL.len()]> = LazyLock::new(|| {
    let kind = entity_type("Action");
    Action::ALL.map(|action| EntityUID::from_components(kind.clone(), Eid::new(action.name()), None))
});

/// The Cedar entity of an action.
pub(crate) fn action_uid(action: Action) -> EntityUID {
    #[expect(
        clippy::indexing_slicing,
        reason = "ACTION_UIDS is built from ALL, in the order of the variants"
    )]
    ACTION_UIDS[action as usize].clone()
}

/// What a line of the schema says that older builds do not know.
const FROM_LEVEL_2: &str = "// from feature level 2 on";

/// The vocabulary of feature level 1: while it is in force, a policy must be checked as the oldest builds check it.
pub(crate) fn level_1_text() -> String {
    let known = SCHEMA_TEXT.lines().filter(|line| !line.contains(FROM_LEVEL_2));
    known.flat_map(|line| [line, "\n"]).collect()
}

#[expect(
    clippy::expect_used,
    reason = "the schema is a constant; every test that compiles a policy parses it"
)]
fn checker(text: &str) -> Validator {
    let (schema, _warnings) = Schema::from_cedarschema_str(text).expect("the schema is valid Cedar");
    Validator::new(schema)
}

/// The checker that policies must pass before they are stored.
pub(crate) static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| checker(SCHEMA_TEXT));

static VALIDATOR_LEVEL_1: LazyLock<Validator> = LazyLock::new(|| checker(&level_1_text()));

/// What policies are checked against at a feature level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vocabulary {
    First,
    FromLevel2,
}

impl Vocabulary {
    pub(crate) fn at(level: u32) -> Self {
        if level < 2 { Self::First } else { Self::FromLevel2 }
    }

    pub(crate) fn validator(self) -> &'static Validator {
        match self {
            Self::First => &VALIDATOR_LEVEL_1,
            Self::FromLevel2 => &VALIDATOR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_declares_exactly_the_entities_of_the_code() {
        let mut declared: Vec<String> = VALIDATOR.schema().entity_types().map(ToString::to_string).collect();
        declared.sort();
        let mut known: Vec<String> = EntityKind::ALL.iter().map(|kind| kind.name().to_owned()).collect();
        known.sort();
        assert_eq!(declared, known);
    }

    #[test]
    fn the_schema_declares_exactly_the_actions_of_the_code() {
        let mut declared: Vec<String> = VALIDATOR
            .schema()
            .actions()
            .map(|uid| uid.id().unescaped().to_owned())
            .collect();
        declared.sort();
        let mut known: Vec<String> = Action::ALL.iter().map(|action| action.name().to_owned()).collect();
        known.sort();
        assert_eq!(declared, known);
    }

    #[test]
    fn the_schema_gives_each_action_exactly_the_principals_and_resources_of_the_code() {
        let mut declared: Vec<(String, String, String)> = VALIDATOR
            .schema()
            .request_envs()
            .map(|env| {
                let action = env.action().id().unescaped().to_owned();
                (action, env.principal().to_string(), env.resource().to_string())
            })
            .collect();
        declared.sort();
        let principals = &EntityKind::ALL[..5];
        let mut known = Vec::new();
        for action in Action::ALL {
            for principal in principals {
                for resource in EntityKind::ALL {
                    if action.applies(*principal, resource) {
                        known.push((
                            action.name().to_owned(),
                            principal.name().to_owned(),
                            resource.name().to_owned(),
                        ));
                    }
                }
            }
        }
        known.sort();
        assert_eq!(declared, known);
    }

    #[test]
    fn the_schema_raises_no_warning() {
        let (_, mut warnings) = Schema::from_cedarschema_str(SCHEMA_TEXT).expect("valid");
        assert!(warnings.next().is_none());
    }

    #[test]
    fn every_kind_and_action_has_the_entity_of_its_own_name() {
        for kind in EntityKind::ALL {
            let uid = kind.uid("x");
            assert_eq!(uid.to_string(), format!("{}::\"x\"", kind.name()));
            let public: cedar_policy::EntityUid = uid.into();
            assert_eq!(EntityKind::of(public.type_name()), Some(kind));
        }
        for action in Action::ALL {
            assert_eq!(action_uid(action).to_string(), format!("Action::\"{}\"", action.name()));
        }
    }
}
