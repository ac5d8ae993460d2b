//! A request in Cedar's terms, and the answer of one policy to it.
//!
//! This is the hot path of every release, so it stands on `cedar-policy-core` rather than on `cedar-policy`: there the
//! entities' transitive closure is computed anew for each request, values are made by interpreting expressions, and the
//! name of the function `ip` is parsed each time, 19 µs together. A property test compares the outcome with
//! `cedar-policy`'s own authorizer.
//!
//! Only two entities are built, with everything they are in as direct parents: the principal in its groups, the resource
//! in its folders and tenant. The parents have no attributes that a policy could ask for (`compile`), so they need not be
//! there. This file is the only one that builds entities; the same property test checks them against the schema.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, LazyLock};

use cedar_policy_core::ast::{
    Context, Entity, EntityUID, EntityUIDEntry, Expr, Literal, Name, PartialValue, Request as CedarRequest, SlotEnv,
    Value, ValueKind,
};
use cedar_policy_core::entities::{Entities, NoEntitiesSchema, TCComputation, err::EntitiesError};
use cedar_policy_core::evaluator::{EvaluationError, Evaluator};
use cedar_policy_core::extensions::Extensions;

use crate::request::{Local, Request, Resource};
use crate::schema::{EntityKind, action_uid};

/// Milliseconds of an hour.
const HOUR_MS: u64 = 3_600_000;

/// The function that makes an address of a text.
#[expect(
    clippy::expect_used,
    reason = "the name is a constant; every test that reads a secret uses it"
)]
static IP_FUNCTION: LazyLock<Name> =
    LazyLock::new(|| Name::parse_unqualified_name("ip").expect("ip is a Cedar identifier"));

/// A request ready for evaluation.
pub(crate) struct Asked {
    request: CedarRequest,
    entities: Entities,
}

/// Cedar does not take what was built. It has no reason to; should it ever, the answer is no.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    #[error("{0}")]
    Entities(Box<EntitiesError>),
    #[error("{0}")]
    Address(Box<EvaluationError>),
    #[error("Cedar has no addresses")]
    NoAddresses,
}

impl Asked {
    /// # Errors
    /// [`BuildError`], for a request that has not been checked.
    pub(crate) fn new(request: &Request<'_>) -> Result<Self, BuildError> {
        let principal = principal_entity(request);
        let resource = resource_entity(&request.resource);
        let known = |uid: &EntityUID| EntityUIDEntry::known(uid.clone(), None);
        let cedar = CedarRequest::new_unchecked(
            known(principal.uid()),
            known(&action_uid(request.action)),
            known(resource.uid()),
            Some(context(request)?),
        );
        // Every ancestor is a direct parent, so the relation is closed as it stands.
        let entities = Entities::from_entities(
            [principal, resource],
            None::<&NoEntitiesSchema>,
            TCComputation::AssumeAlreadyComputed,
            Extensions::all_available(),
        )
        .map_err(|error| BuildError::Entities(Box::new(error)))?;
        Ok(Self {
            request: cedar,
            entities,
        })
    }

    /// Evaluates policies for this request: each call says whether one is satisfied, scope and condition, or in Cedar's
    /// words why that cannot be said.
    pub(crate) fn evaluator(&self) -> impl Fn(&Expr) -> Result<bool, String> {
        let evaluator = Evaluator::new(self.request.clone(), &self.entities, Extensions::all_available());
        let no_slots = SlotEnv::new();
        move |expression| match evaluator.interpret(expression, &no_slots) {
            Ok(value) => match value.value_kind() {
                ValueKind::Lit(Literal::Bool(satisfied)) => Ok(*satisfied),
                other => Err(format!("not true or false: {other}")),
            },
            Err(error) => Err(error.to_string()),
        }
    }
}

fn principal_entity(request: &Request<'_>) -> Entity {
    let principal = &request.principal;
    let groups = principal.groups.iter().map(|group| EntityKind::Group.uid(group));
    Entity::new_with_attr_partial_value(
        principal.kind.entity().uid(principal.name),
        [
            ("id".into(), text(&hex::encode(principal.id))),
            ("name".into(), text(principal.name)),
            ("owner".into(), text(principal.owner)),
            ("purpose".into(), text(principal.purpose)),
        ],
        HashSet::new(),
        groups.collect(),
        [],
    )
}

fn resource_entity(resource: &Resource<'_>) -> Entity {
    let (kind, id) = resource.entity();
    let path = match resource {
        Resource::Secret { path, .. } | Resource::Folder { path, .. } => Some(("path".into(), text(path))),
        Resource::Tenant { .. } | Resource::Cluster => None,
    };
    let parents = resource.ancestors().map(|(kind, id)| kind.uid(id));
    Entity::new_with_attr_partial_value(kind.uid(id), path, HashSet::new(), parents.collect(), [])
}

fn context(request: &Request<'_>) -> Result<Context, BuildError> {
    let mut attributes = BTreeMap::new();
    let mut add = |name: &str, value: Value| attributes.insert(name.into(), value);
    let [time, hour, weekday] = times(request.context.log_time_ms);
    add("logTime", time);
    add("logHour", hour);
    add("logWeekday", weekday);
    if let Some(cas) = request.stated() {
        add("cas", Value::from(cas));
    }
    if let Some(Local {
        time_ms,
        source,
        region,
        tls_group,
        client_key,
    }) = request.observed()
    {
        let [time, hour, weekday] = times(time_ms);
        add("localTime", time);
        add("localHour", hour);
        add("localWeekday", weekday);
        add("sourceAddress", address(&source.to_canonical().to_string())?);
        if let Some(region) = region {
            add("sourceRegion", Value::from(region));
        }
        add("tlsGroup", Value::from(tls_group));
        add("clientKey", Value::from(hex::encode(client_key)));
    }
    Ok(Context::Value(Arc::new(attributes)))
}

/// Time in ms, hour of the day and ISO 8601 day of the week, all UTC. 1 January 1970 was a Thursday.
fn times(time_ms: u64) -> [Value; 3] {
    let hours = time_ms / HOUR_MS;
    // `Request::check` has refused times past i64.
    [time_ms, hours % 24, (hours / 24 + 3) % 7 + 1].map(|number| Value::from(i64::try_from(number).unwrap_or(i64::MAX)))
}

fn address(text: &str) -> Result<Value, BuildError> {
    let function = Extensions::all_available()
        .func(&IP_FUNCTION)
        .map_err(|_| BuildError::NoAddresses)?;
    match function.call(&[Value::from(text)]) {
        Ok(PartialValue::Value(value)) => Ok(value),
        Ok(PartialValue::Residual(_)) => Err(BuildError::NoAddresses),
        Err(error) => Err(BuildError::Address(Box::new(error))),
    }
}

fn text(text: &str) -> PartialValue {
    Value::from(text).into()
}
