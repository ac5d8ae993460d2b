//! Cedar policies over our schema: check, slice, decide, explain.
//!
//! What holds here (authority, "Policy"):
//!
//! - **Deny by default; `forbid` wins; any evaluation error denies.** Cedar skips a policy that fails; we do not.
//! - **Nothing unchecked decides.** A [`PolicySet`] is made by [`PolicySet::compile`] and its like alone: strict validation against
//!   [`SCHEMA_TEXT`], warnings included; no templates, no hidden characters, no names that can never match.
//! - **Alike on every node.** A decision depends on the set and the request only, and its cost on the matches, not on the
//!   number of policies.
//!
//! # How policies read
//!
//! ```cedar
//! @id("stripe-readers")
//! permit(
//!   principal in Group::"billing",
//!   action == Action::"read",
//!   resource in Folder::"prod/stripe"
//! );
//!
//! @id("office-hours") @note("allowed 07:00-19:00 UTC")
//! forbid(principal is Agent, action == Action::"read", resource in Folder::"prod")
//! unless { context.localHour >= 7 && context.localHour < 19 };
//! ```
//!
//! Entity ids are names: `Agent::"spiffe://acme/billing-bot"`, `Group::"billing"`, `Secret::"prod/stripe/key"` in
//! `Folder::"prod/stripe"` in `Folder::"prod"` in `Tenant::"acme"`. They are compared byte for byte; there are no
//! wildcards in them. Paths are those inside one tenant: a set speaks for one tenant.
//!
//! # Circumstances
//!
//! Each action has its own type of context. What nodes decide from the log
//! (`write`, `writeMetadata`, `delete`) has the log's time and nothing else, since a node's own clock or the peer's address
//! would make honest nodes differ. Strict validation follows: a policy that may apply to a write and asks for
//! `context.localHour` is refused when it is stored. What each node answers for itself (`read`, `list`, …) has both; if a
//! caller has no local circumstances to give, a policy that asks for them errs, and so denies.
//!
//! This crate does no IO and reads no clock.
#![forbid(unsafe_code)]

mod compile;
mod decision;
mod digest;
mod error;
mod evaluate;
mod index;
pub mod limits;
mod needs;
mod place;
mod request;
mod scan;
mod schema;
mod set;

pub use decision::{Decision, DecisionError, Effect, Miss, NearMiss, PolicyRef, Reason};
pub use error::{CompileError, LiteralDefect, Problem, Problems, SourceNameDefect};
pub use place::Place;
pub use request::{Action, Context, InputDefect, Local, PathDefect, Principal, PrincipalKind, Request, Resource};
pub use scan::is_deceptive;
pub use schema::{SCHEMA_TEXT, SCHEMA_VERSION};
pub use set::{PolicySet, Source};
