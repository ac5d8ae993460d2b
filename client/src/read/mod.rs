//! Reading (custody.md, "Reading"): ask t nodes, compare what they signed, combine, check, open.
//!
//! 1. Only replies with equal record hash and epoch are combined, t of them.
//! 2. Contexts and digests are recomputed from the body before it is used; whoever sent one that does not fit is named.
//! 3. If versions differ, all are asked again from the highest state index shown; a lower version is never settled for.
//! 4. Chain values are compared where log indices are equal; a difference is told to all nodes and to the caller.
//! 5. Fragments are checked one by one only if their combination is not the committed key.
//! 6. Only then, and only with t good fragments, is the author at fault.
//!
//! With commitments at hand no subsets are tried: the fragments that fit their commitments lie on the one polynomial
//! that z fixes, so that every t of them give the same key, or none does.

#[cfg(feature = "evidence")]
mod evidence;
mod opening;
mod rounds;

#[cfg(feature = "evidence")]
pub use evidence::KeyMaterial;

use crate::client::{Client, Inner};
use crate::error::{Culprit, Error};
use crate::limits::FRESH_WITHIN;
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};
use symbolon_crypto::Hash;
use symbolon_crypto::enc::sha256;
use symbolon_crypto::secret::SecretBytes;
use symbolon_wire::ids::{PrincipalId, SecretId};
use symbolon_wire::limits::TEXT_BYTES_MAX;
use symbolon_wire::path::Path;
use symbolon_wire::{Code, Message, v1};

/// A value, opened and checked.
#[derive(Debug)]
pub struct Opened {
    /// The value.
    pub value: SecretBytes,
    /// What it is, as its author said.
    pub content_type: String,
    /// Its version.
    pub version: u64,
    /// The secret.
    pub secret: SecretId,
    /// Who wrote it.
    pub author: PrincipalId,
    /// Log index of the version.
    pub record_index: u64,
    /// Every node that vouched for it had applied the log at least up to here.
    pub state_index: u64,
    /// What each of the t nodes signed for.
    pub receipts: Vec<Receipt>,
    /// Who was caught on the way.
    pub culprits: Vec<Culprit>,
}

/// One node's part in a read: where it wrote the decision down, and the reply that it signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The node.
    pub node: u16,
    /// Its boot.
    pub boot_counter: u64,
    /// Index of the decision in its audit log.
    pub audit_index: u64,
    /// The hash of that decision's leaf, which the node signed together with its reply; `None` from a node that gives no
    /// receipts.
    pub audit_leaf: Option<Hash>,
    /// The client key that the reply is for.
    pub client_key: Hash,
    /// The statement of that boot: an encoded [`v1::BootKeys`].
    pub boot: Bytes,
    /// The signed reply: an encoded [`v1::ReadReply`], without its body.
    pub reply: Bytes,
    /// SHA-256 of the request that it answers.
    pub request_hash: Hash,
}

impl Client {
    /// Reads the secret at `path`: its `version`, or the latest. `purpose` is logged with every node's decision.
    ///
    /// # Errors
    /// [`Code::Denied`], [`Code::NotFound`] and the like if so many nodes say so that t cannot agree; [`Code::NotFresh`],
    /// [`Code::NoQuorum`], [`Code::Unreachable`] naming the nodes; [`Code::NodeAtFault`], [`Code::AuthorAtFault`],
    /// [`Code::Diverged`] with the culprits.
    pub async fn get(&self, path: &str, version: Option<u64>, purpose: &str) -> Result<Opened, Error> {
        Reading::new(&self.inner, path, version, purpose)?.run().await
    }
}

/// One call of `get`.
struct Reading<'a> {
    client: &'a Arc<Inner>,
    request: v1::ReadRequest,
    what: String,
    rounds: u32,
    culprits: Vec<Culprit>,
    /// Nodes that were caught: not asked again.
    excluded: Vec<u16>,
    /// What nodes showed in the last round that did not agree.
    shown: String,
    /// All nodes were told of two histories.
    told: bool,
    /// That of the value, once it is open.
    #[cfg(feature = "evidence")]
    data_key: Option<symbolon_crypto::secret::Secret<32>>,
}

/// How a round ended.
enum End {
    Opened(Box<Opened>),
    /// Nodes answered from different states; `highest` is the highest shown.
    Behind {
        highest: u64,
        shown: String,
    },
}

/// A request in its two forms.
struct Requests {
    client_key: Hash,
    min_index: u64,
    with_body: (Bytes, Hash),
    without: (Bytes, Hash),
}

impl<'a> Reading<'a> {
    fn new(client: &'a Arc<Inner>, path: &str, version: Option<u64>, purpose: &str) -> Result<Self, Error> {
        let path = Path::parse(path).map_err(|bad| Error::new(Code::BadPath, bad.to_string()))?;
        if purpose.len() > TEXT_BYTES_MAX {
            let what = format!(
                "a purpose of {} bytes; at most {TEXT_BYTES_MAX} are allowed",
                purpose.len()
            );
            return Err(Error::new(Code::TooLarge, what));
        }
        if version == Some(0) {
            return Err(Error::new(Code::Malformed, "versions begin at 1")
                .next(format!("symbolon history {path}   (or no version: the latest)")));
        }
        let request = v1::ReadRequest {
            path: path.as_str().to_owned(),
            version: version.unwrap_or_default(),
            purpose: purpose.to_owned(),
            ..v1::ReadRequest::default()
        };
        Ok(Self {
            client,
            request,
            what: format!("read {path}"),
            rounds: 0,
            culprits: Vec::new(),
            excluded: Vec::new(),
            shown: String::new(),
            told: false,
            #[cfg(feature = "evidence")]
            data_key: None,
        })
    }

    /// Remembers who was caught at what, once.
    fn accuse(&mut self, caught: impl IntoIterator<Item = Culprit>) {
        for culprit in caught {
            let same = |known: &Culprit| known.who == culprit.who && known.what == culprit.what;
            if !self.culprits.iter().any(same) {
                self.culprits.push(culprit);
            }
        }
    }

    async fn run(&mut self) -> Result<Opened, Error> {
        let (mut min_index, mut fresh_by) = (0, None);
        loop {
            match self.round(min_index).await? {
                End::Opened(mut opened) => {
                    opened.culprits = std::mem::take(&mut self.culprits);
                    return Ok(*opened);
                }
                End::Behind { highest, shown } => {
                    let now = Instant::now();
                    if now >= *fresh_by.get_or_insert(now + FRESH_WITHIN) {
                        let mut error = Error::new(
                            Code::NotFresh,
                            format!("cannot {}: nodes do not agree in time", self.what),
                        )
                        .because(shown);
                        error.culprits = std::mem::take(&mut self.culprits);
                        return Err(error);
                    }
                    if highest <= min_index {
                        // They had reached it and still differ: entries are being applied right now.
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    min_index = highest.max(min_index);
                    self.shown = shown;
                }
            }
            self.rounds += 1;
        }
    }

    fn requests(&mut self, min_index: u64) -> Requests {
        let nonce: [u8; 32] = rand::random();
        self.request.nonce = Bytes::copy_from_slice(&nonce);
        self.request.min_index = min_index;
        let mut encode = |body: bool| {
            self.request.body = body;
            let request = v1::Request {
                kind: Some(v1::request::Kind::Read(self.request.clone())),
            };
            let bytes = Bytes::from(request.encode_to_vec());
            let hash = sha256(&bytes);
            (bytes, hash)
        };
        let (with_body, without) = (encode(true), encode(false));
        Requests {
            client_key: *self.client.net.identity.fingerprint(),
            min_index,
            with_body,
            without,
        }
    }
}
