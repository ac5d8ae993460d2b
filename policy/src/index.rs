//! Slicing: finds the policies that may apply to a request without looking at the others.
//!
//! Every policy is filed under the actions, the principal and the resource of its scope. A request asks for its own
//! action with each thing that its principal is (anyone, its kind, itself, its groups) and each that its resource is
//! (anything, its kind, itself, what it is in). What is not found there has a scope that the request does not meet; Cedar
//! evaluates the scope first, so such a policy is neither satisfied nor errs, and leaving it out changes nothing.
//! What is found may still not match (`is … in …` is filed under its `in`): Cedar evaluates the whole policy anyway.
//!
//! Entities that no policy names have no number and cost one look-up each; what remains follows the number of matches.

use std::collections::{BTreeMap, HashMap};

use cedar_policy::{ActionConstraint, EntityTypeName, EntityUid, Policy, PrincipalConstraint, ResourceConstraint};

use crate::request::{Action, Request};
use crate::schema::EntityKind;

/// Number of a policy in its set.
pub(crate) type Number = u32;

/// What a scope asks of a principal or resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Key {
    Any,
    Kind(EntityKind),
    /// To be, or to be in, the entity with this number.
    Entity(u32),
}

/// Policies by action and principal, then by resource.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Numbers of the entities that scopes name.
    entities: HashMap<EntityKind, HashMap<Box<str>, u32>>,
    entities_count: u32,
    by_principal: HashMap<(Action, Key), BTreeMap<Key, Vec<Number>>>,
}

impl Index {
    /// Files a policy. A scope that names a type or action unknown to the schema can match no request and is left out;
    /// validation has refused it before.
    pub(crate) fn add(&mut self, number: Number, policy: &Policy) {
        let principal = match policy.principal_constraint() {
            PrincipalConstraint::Any => Some(Key::Any),
            PrincipalConstraint::Is(kind) => kind_key(&kind),
            PrincipalConstraint::Eq(uid) | PrincipalConstraint::In(uid) | PrincipalConstraint::IsIn(_, uid) => {
                self.entity_key(&uid)
            }
        };
        let resource = match policy.resource_constraint() {
            ResourceConstraint::Any => Some(Key::Any),
            ResourceConstraint::Is(kind) => kind_key(&kind),
            ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => {
                self.entity_key(&uid)
            }
        };
        let (Some(principal), Some(resource)) = (principal, resource) else {
            return;
        };
        let named = |uid: &EntityUid| Action::from_name(uid.id().unescaped());
        let mut actions: Vec<Action> = match policy.action_constraint() {
            ActionConstraint::Any => Action::ALL.to_vec(),
            ActionConstraint::Eq(uid) => named(&uid).into_iter().collect(),
            ActionConstraint::In(uids) => uids.iter().filter_map(named).collect(),
        };
        actions.sort_unstable();
        actions.dedup();
        for action in actions {
            self.by_principal
                .entry((action, principal))
                .or_default()
                .entry(resource)
                .or_default()
                .push(number);
        }
    }

    fn entity_key(&mut self, uid: &EntityUid) -> Option<Key> {
        let kind = EntityKind::of(uid.type_name())?;
        let next = self.entities_count;
        let number = *self
            .entities
            .entry(kind)
            .or_default()
            .entry(uid.id().unescaped().into())
            .or_insert(next);
        if number == next {
            self.entities_count += 1;
        }
        Some(Key::Entity(number))
    }

    fn key_of(&self, kind: EntityKind, id: &str) -> Option<Key> {
        self.entities.get(&kind)?.get(id).copied().map(Key::Entity)
    }

    fn principal_keys(&self, request: &Request<'_>) -> Vec<Key> {
        let kind = request.principal.kind.entity();
        let mut keys = vec![Key::Any, Key::Kind(kind)];
        keys.extend(self.key_of(kind, request.principal.name));
        keys.extend(
            request
                .principal
                .groups
                .iter()
                .filter_map(|group| self.key_of(EntityKind::Group, group)),
        );
        keys
    }

    fn resource_keys(&self, request: &Request<'_>) -> Vec<Key> {
        let (kind, id) = request.resource.entity();
        let mut keys = vec![Key::Any, Key::Kind(kind)];
        keys.extend(self.key_of(kind, id));
        keys.extend(
            request
                .resource
                .ancestors()
                .filter_map(|(kind, id)| self.key_of(kind, id)),
        );
        keys
    }

    fn under<'a>(
        &'a self,
        action: Action,
        principals: &'a [Key],
    ) -> impl Iterator<Item = &'a BTreeMap<Key, Vec<Number>>> {
        principals
            .iter()
            .filter_map(move |key| self.by_principal.get(&(action, *key)))
    }

    /// The policies whose scope may match, ascending, each once.
    pub(crate) fn candidates(&self, request: &Request<'_>) -> Vec<Number> {
        let principals = self.principal_keys(request);
        let resources = self.resource_keys(request);
        let mut found: Vec<Number> = self
            .under(request.action, &principals)
            .flat_map(|by_resource| resources.iter().filter_map(|key| by_resource.get(key)))
            .flatten()
            .copied()
            .collect();
        // A request may name one group twice.
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Up to `count_max` policies whose action and principal may match, whatever their resource, in a fixed order.
    pub(crate) fn regardless_of_resource(&self, request: &Request<'_>, count_max: usize) -> Vec<Number> {
        let principals = self.principal_keys(request);
        let mut found: Vec<Number> = self
            .under(request.action, &principals)
            .flat_map(|by_resource| by_resource.values().flatten())
            .copied()
            .take(count_max)
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

fn kind_key(type_name: &EntityTypeName) -> Option<Key> {
    EntityKind::of(type_name).map(Key::Kind)
}
