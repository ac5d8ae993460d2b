//! What nodes sign: the exact bytes of each statement (custody.md). Labels stand beside their only use.

use crate::ids::ClusterId;
use symbolon_crypto::Hash;
use symbolon_crypto::enc::{enc, sha256};

/// Who signs: a node in one of its boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signer {
    /// The cluster.
    pub cluster: ClusterId,
    /// Roster index.
    pub node: u16,
    /// Counts the node's boots.
    pub boot_counter: u64,
}

impl Signer {
    fn fields<'a>(&'a self, node: &'a [u8; 2], boot: &'a [u8; 8]) -> [&'a [u8]; 3] {
        [self.cluster.bytes(), node, boot]
    }

    fn statement(&self, label: &[u8], rest: &[&[u8]]) -> Vec<u8> {
        let (node, boot) = (self.node.to_be_bytes(), self.boot_counter.to_be_bytes());
        enc(&[&[label], &self.fields(&node, &boot)[..], rest].concat())
    }

    /// `BootKeys`, signed by the identity key in the token. The roster hash stands before the counter.
    pub fn boot(&self, roster_hash: &Hash, signing_key: &[u8], tls_key: &[u8], checkpoint_key: &[u8]) -> Vec<u8> {
        enc(&[
            b"symbolon/v1/boot",
            self.cluster.bytes(),
            &self.node.to_be_bytes(),
            roster_hash,
            &self.boot_counter.to_be_bytes(),
            signing_key,
            tls_key,
            checkpoint_key,
        ])
    }

    /// The highest feature level that this build supports.
    pub fn feature(&self, level: u32) -> Vec<u8> {
        self.statement(b"symbolon/v1/feature", &[&level.to_be_bytes()])
    }

    /// This boot's clock reading number `sequence`, ms.
    pub fn tick(&self, sequence: u64, time_ms: u64) -> Vec<u8> {
        self.statement(b"symbolon/v1/tick", &[&sequence.to_be_bytes(), &time_ms.to_be_bytes()])
    }

    /// A chain head.
    pub fn head(&self, index: u64, chain: &Hash) -> Vec<u8> {
        self.statement(b"symbolon/v1/head", &[&index.to_be_bytes(), chain])
    }

    /// Fragments that were opened and checked, each by log index and chain value of its dealing: in another history another one stands
    /// at that index.
    pub fn fragment_ok(&self, dealings: &[(u64, Hash)]) -> Vec<u8> {
        let indices: Vec<[u8; 8]> = dealings.iter().map(|(index, _)| index.to_be_bytes()).collect();
        let fields = indices.iter().zip(dealings);
        let rest: Vec<&[u8]> = fields
            .flat_map(|(index, (_, chain))| [index.as_slice(), chain.as_slice()])
            .collect();
        self.statement(b"symbolon/v1/fragment-ok", &rest)
    }

    /// A fragment that could not be used, of the dealing at `index`, where the chain value is `chain`.
    pub fn complaint(&self, index: u64, chain: &Hash, fragment_key: &[u8]) -> Vec<u8> {
        self.statement(b"symbolon/v1/complaint", &[&index.to_be_bytes(), chain, fragment_key])
    }

    /// The state at a marked index, for a snapshot.
    pub fn snapshot(&self, incarnation: u64, index: u64, chain: &Hash, root: &Hash, roster_hash: &Hash) -> Vec<u8> {
        self.statement(
            b"symbolon/v1/snapshot",
            &[
                &incarnation.to_be_bytes(),
                &index.to_be_bytes(),
                chain,
                root,
                roster_hash,
            ],
        )
    }

    /// Where the node stands, to one boot of another: what a booted node is admitted by. Both signing keys are drawn at a
    /// boot and so are the boots' nonces; `last` is term and index of the end of the furthest log that the node knows.
    pub fn witness(
        &self,
        own_key: &[u8],
        asker: (u16, u64, &[u8]),
        term: u64,
        last: Option<(u64, u64)>,
        admitted: bool,
    ) -> Vec<u8> {
        let (node, counter, key) = asker;
        let last = last.map_or(Vec::new(), |(term, index)| {
            [term.to_be_bytes(), index.to_be_bytes()].concat()
        });
        self.statement(
            b"symbolon/v1/witness",
            &[
                own_key,
                &node.to_be_bytes(),
                &counter.to_be_bytes(),
                key,
                &term.to_be_bytes(),
                &last,
                &[u8::from(admitted)],
            ],
        )
    }

    /// That the node has applied the entry at `log_index`, which anchors the audit log of the node `log` at this size and
    /// root.
    pub fn anchored(&self, log: u16, size: u64, root: &Hash, log_index: u64) -> Vec<u8> {
        self.statement(
            b"symbolon/v1/anchored",
            &[&log.to_be_bytes(), &size.to_be_bytes(), root, &log_index.to_be_bytes()],
        )
    }

    /// Where the decision about a request stands in the node's audit log: the leaf beside the reply's in the tree of its
    /// group.
    pub fn receipt(&self, request_hash: &Hash, audit_index: u64, audit_leaf: &Hash) -> Vec<u8> {
        self.statement(
            b"symbolon/v1/receipt",
            &[request_hash, &audit_index.to_be_bytes(), audit_leaf],
        )
    }

    /// The root over the replies of one audit group.
    pub fn replies(&self, root: &Hash) -> Vec<u8> {
        self.statement(b"symbolon/v1/replies", &[root])
    }

    /// One reply, as a leaf of that tree.
    pub fn reply(&self, reply: &ReplyLeaf<'_>) -> Vec<u8> {
        self.statement(
            b"symbolon/v1/reply",
            &[
                reply.client_key,
                reply.request_hash,
                reply.record_hash,
                &reply.epoch.to_be_bytes(),
                reply.fragment_hash,
                &reply.state_index.to_be_bytes(),
                &reply.record_index.to_be_bytes(),
                reply.record_chain,
                &reply.anchor_index.to_be_bytes(),
                reply.anchor_chain,
            ],
        )
    }
}

/// The fields of a reply leaf, in the order in which they are encoded.
#[derive(Debug, Clone, Copy)]
pub struct ReplyLeaf<'a> {
    /// SHA-256 of the SubjectPublicKeyInfo of the client's certificate.
    pub client_key: &'a Hash,
    /// SHA-256 of the request as received.
    pub request_hash: &'a Hash,
    /// Over vctx, sctx and dd of the version.
    pub record_hash: &'a Hash,
    /// Its epoch.
    pub epoch: u64,
    /// SHA-256(s_i ‖ γ_i).
    pub fragment_hash: &'a Hash,
    /// Applied index at the decision.
    pub state_index: u64,
    /// Log index of the version.
    pub record_index: u64,
    /// Chain value there.
    pub record_chain: &'a Hash,
    /// Last multiple of 256 at or below the state index.
    pub anchor_index: u64,
    /// Chain value there.
    pub anchor_chain: &'a Hash,
}

/// What a signer of a roster signs.
pub fn roster_signature(roster_hash: &Hash) -> Vec<u8> {
    enc(&[b"symbolon/v1/roster-signature", roster_hash])
}

/// The hash of a roster body; of genesis, what a client pins.
pub fn roster_hash(body: &[u8]) -> Hash {
    sha256(&enc(&[b"symbolon/v1/roster", body]))
}
