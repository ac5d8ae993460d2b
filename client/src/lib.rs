//! The library over QUIC: write, collect, check, open, verify.
//!
//! What a node says is checked before it is used: who it is (against a roster that a pinned hash vouches for), what it
//! signed, that t nodes agree, that the fragments give the committed key. A wrong fragment is named with the signed reply
//! that shows it, and an honest node never is. Values are encrypted, broken and sealed here and opened here; no node
//! learns one (custody.md, "One write" and "Reading").
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::{path::Path, sync::Arc};
//! use symbolon_client::{Client, Endpoint, Identity, Options, PutOptions};
//!
//! let endpoint = Endpoint::parse(&std::fs::read_to_string("cluster.address")?)?;
//! let identity = Arc::new(Identity::load(Path::new("bot.identity"))?);
//! let client = Client::connect(endpoint, None, identity, Options::default()).await?;
//! client.put("prod/stripe/key", b"sk_live_...", PutOptions::default()).await?;
//! let opened = client.get("prod/stripe/key", None, "nightly invoices").await?;
//! assert_eq!(opened.value.expose(), b"sk_live_...");
//! # Ok(())
//! # }
//! ```
//!
//! Read in this order: [`Client`], then `read.rs` and `write.rs`.
#![forbid(unsafe_code)]

pub mod audit;
mod batch;
mod client;
mod clock;
mod command;
mod confirm;
mod dial;
mod endpoint;
mod error;
mod hello;
mod identity;
pub mod limits;
mod metadata;
mod node;
mod query;
mod read;
mod reply;
mod resolve;
mod round;
mod session;
mod spare;
mod submit;
mod verdict;
mod watch;
mod write;

pub use client::{Client, Options};
pub use command::{build_command, sign_command};
pub use endpoint::{BadEndpoint, Endpoint};
pub use error::{Culprit, Error, Evidence, Misdeed, Report, Who};
pub use hello::{BadBoot, BadHello, Boot};
pub use identity::{Identity, IdentityError, Overwrite};
pub use metadata::MetadataChange;
pub use query::{AuditPage, AuditRange};
#[cfg(feature = "evidence")]
pub use read::KeyMaterial;
pub use read::{Opened, Receipt};
pub use submit::{Level, Submitted};
pub use symbolon_wire::change::ChangeKind;
pub use symbolon_wire::{Code, v1};
pub use watch::{Change, Watch};
pub use write::{Put, PutOptions};
