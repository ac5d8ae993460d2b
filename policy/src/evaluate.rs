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

use crate::needs::{Attribute, Needs};
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
    /// For policies that ask for no more than `needs`.
    ///
    /// # Errors
    /// [`BuildError`], for a request that has not been checked.
    pub(crate) fn new(request: &Request<'_>, needs: Needs) -> Result<Self, BuildError> {
        let principal = principal_entity(request, needs);
        let resource = resource_entity(&request.resource, needs);
        let known = |uid: &EntityUID| EntityUIDEntry::known(uid.clone(), None);
        let cedar = CedarRequest::new_unchecked(
            known(principal.uid()),
            known(&action_uid(request.action)),
            known(resource.uid()),
            Some(context(request, needs)?),
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

fn principal_entity(request: &Request<'_>, needs: Needs) -> Entity {
    let principal = &request.principal;
    let mut attributes = Vec::new();
    let mut add = |attribute: Attribute, value: &dyn Fn() -> Value| {
        if needs.has(attribute) {
            attributes.push((attribute.name().into(), value().into()));
        }
    };
    add(Attribute::Id, &|| Value::from(hex::encode(principal.id)));
    add(Attribute::Name, &|| Value::from(principal.name));
    add(Attribute::Owner, &|| Value::from(principal.owner));
    add(Attribute::Purpose, &|| Value::from(principal.purpose));
    let groups = principal.groups.iter().map(|group| EntityKind::Group.uid(group));
    let uid = principal.kind.entity().uid(principal.name);
    Entity::new_with_attr_partial_value(uid, attributes, HashSet::new(), groups.collect(), [])
}

fn resource_entity(resource: &Resource<'_>, needs: Needs) -> Entity {
    let (kind, id) = resource.entity();
    let path = match resource {
        Resource::Secret { path, .. } | Resource::Folder { path, .. } if needs.has(Attribute::Path) => {
            Some((Attribute::Path.name().into(), Value::from(*path).into()))
        }
        _ => None,
    };
    let parents = resource.ancestors().map(|(kind, id)| kind.uid(id));
    Entity::new_with_attr_partial_value(kind.uid(id), path, HashSet::new(), parents.collect(), [])
}

fn context(request: &Request<'_>, needs: Needs) -> Result<Context, BuildError> {
    use Attribute::{
        Cas, ClientKey, LocalHour, LocalTime, LocalWeekday, LogHour, LogTime, LogWeekday, SourceAddress, SourceRegion,
        TlsGroup,
    };
    let mut attributes = BTreeMap::new();
    let mut add = |attribute: Attribute, value: &dyn Fn() -> Value| {
        if needs.has(attribute) {
            attributes.insert(attribute.name().into(), value());
        }
    };
    let log_ms = request.context.log_time_ms;
    add(LogTime, &|| number(log_ms));
    add(LogHour, &|| number(hour(log_ms)));
    add(LogWeekday, &|| number(weekday(log_ms)));
    if let Some(cas) = request.stated() {
        add(Cas, &|| Value::from(cas));
    }
    if let Some(Local {
        time_ms,
        source,
        region,
        tls_group,
        client_key,
    }) = request.observed()
    {
        add(LocalTime, &|| number(time_ms));
        add(LocalHour, &|| number(hour(time_ms)));
        add(LocalWeekday, &|| number(weekday(time_ms)));
        if needs.has(SourceAddress) {
            let address = address(&source.to_canonical().to_string())?;
            add(SourceAddress, &|| address.clone());
        }
        if let Some(region) = region {
            add(SourceRegion, &|| Value::from(region));
        }
        add(TlsGroup, &|| Value::from(tls_group));
        add(ClientKey, &|| Value::from(hex::encode(client_key)));
    }
    Ok(Context::Value(Arc::new(attributes)))
}

/// Hour of the day, UTC.
const fn hour(time_ms: u64) -> u64 {
    time_ms / HOUR_MS % 24
}

/// ISO 8601 day of the week, UTC. 1 January 1970 was a Thursday.
const fn weekday(time_ms: u64) -> u64 {
    (time_ms / HOUR_MS / 24 + 3) % 7 + 1
}

/// `Request::check` has refused times past i64.
fn number(number: u64) -> Value {
    Value::from(i64::try_from(number).unwrap_or(i64::MAX))
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
